import copy

import pytest
import torch
from tests.networks import NEEDED, fitting, shallow_resnet

from alignmixup import CutMix, Mixup, Switch, methods
from alignmixup.methods.base import PairMixer

PAIRS = [name for name in methods.available() if issubclass(methods.load(name), PairMixer)]
FROM_LAMBDA = {"attentivemix": {"share": 0.0}, "tokenmix": {"share": 0.0}}  # they draw λ only where it is asked for


def test_lambda_of_pairs_and_samples_differ_within_a_batch():
    x, y = torch.rand(8, 2), torch.zeros(8, dtype=torch.int64)
    per_sample = Mixup(num_classes=2, lam_per="sample")(x, y).draw.lam
    per_pair = Mixup(num_classes=2, lam_per="pair")(x, y).draw.lam
    assert len(per_sample.unique()) == 8
    assert len(per_pair.unique()) == 4


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
@pytest.mark.parametrize("name", PAIRS)
def test_alpha_moves_from_epoch_to_epoch(name):
    """In each epoch a method draws what it would with the α of that epoch."""
    net, x, y = fitting(name, shallow_resnet(5)), torch.randn(7, 3, 16, 16), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    own = {"autoencoder": "patches:2"} if name.startswith("style") else NEEDED.get(name, {})
    given = {"num_classes": 5, "mean": (0.5,), "std": (0.25,), "class_counts": (90, 10, 40, 30, 2), "seed": 0}

    def drawn(epoch, **options):
        mixer = methods.build(name, model=net, options={**own, **FROM_LAMBDA.get(name, {}), **options}, **given)
        mixer.prepare(x)
        mixer.set_epoch(epoch)
        draws = [mixer.draw(x, mixer.clean(x, y).target) for _ in range(3)]
        return [value for draw in draws for value in vars(draw).values() if isinstance(value, torch.Tensor)]

    def same(first, second):
        return all(torch.equal(*pair) for pair in zip(first, second, strict=True))

    moving = {"alpha": 0.5, "alpha_end": (8.0, 3)}
    for epoch, alpha in ((0, 0.5), (1, 3.0), (2, 5.5), (3, 8.0), (9, 8.0)):
        assert same(drawn(epoch, **moving), drawn(epoch, alpha=alpha))
    assert not same(drawn(3, **moving), drawn(3, alpha=0.5))


def test_images_are_mixed_more_from_epoch_to_epoch():
    mixer = Mixup(num_classes=2, alpha=0.2, alpha_end=(4.0, 10), lam_per="sample", seed=0)
    x, y = torch.zeros(4000, 1), torch.zeros(4000, dtype=torch.int64)
    strengths = []
    for epoch in (0, 5, 10, 20):
        mixer.set_epoch(epoch)
        lam = mixer(x, y).lam
        strengths.append(torch.minimum(lam, 1 - lam).mean().item())
    # of the table in docs/concepts.md: α = 0.2, 2.1 and 4
    assert strengths == pytest.approx([0.101, 0.316, 0.363, 0.363], abs=0.02)


def test_mixers_of_a_switch_follow_its_epoch():
    mixer = CutMix(alpha=1.0, alpha_end=(3.0, 2))
    switch = Switch(mixers=[mixer], num_classes=2)
    switch.set_epoch(1)
    assert mixer.current_alpha == 2.0


def test_a_resumed_mixer_goes_on_with_the_alpha_of_its_epoch():
    mixer, other = (Mixup(num_classes=2, alpha=1.0, alpha_end=(3.0, 4)) for _ in range(2))
    mixer.set_epoch(3)
    other.load_state_dict(mixer.state_dict())
    assert other.current_alpha == mixer.current_alpha == 2.5


@pytest.mark.parametrize("end", [(1.0,), (1.0, 2.5), (1.0, 2, 3)])
def test_an_end_that_is_no_alpha_and_epoch_is_refused(end):
    with pytest.raises(ValueError, match=r"alpha_end must be \(α, epoch\), such as \(2.0, 100\), got"):
        Mixup(alpha_end=end)
    with pytest.raises(ValueError, match="every element of alpha_end must be > 0, got 0"):
        Mixup(alpha_end=(0, 10))


@pytest.mark.parametrize(
    "option", [{"active_epochs": (0, 5)}, {"active_epochs": (2, 5)}, {"alpha_end": (3.0, 4)}], ids=str
)
@pytest.mark.parametrize("inside", [False, True])
def test_an_option_that_goes_by_the_epoch_says_once_that_nobody_tells_it(option, inside, caplog):
    def build():
        if inside and "alpha_end" in option:
            return Switch(num_classes=2, mixers=[Mixup(num_classes=2, **option)])
        return (Switch if inside else Mixup)(num_classes=2, **option)

    batch = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])
    told, mixer = build(), build()
    told.set_epoch(0)
    told(*batch)
    build().load_state_dict(told.state_dict())
    assert not caplog.records
    for each in (mixer, mixer):
        each(*batch)
    (record,) = caplog.records
    (name,) = option
    assert record.message.startswith(f"{name}=")
    assert record.message.endswith("call mixer.set_epoch(epoch) before each epoch")
    mixer.seed = 5  # does not make one of it
    assert not copy.deepcopy(mixer).stream.knows_epoch
    told.seed = 5
    assert copy.deepcopy(told).stream.knows_epoch
