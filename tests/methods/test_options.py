"""Every option of every method does something: changed, it changes what the same draws give."""

from itertools import zip_longest

import pytest
import torch
from tests.networks import NEEDED, fitting

from alignmixup import methods
from alignmixup.functional.comixup.masks import CoMixupSearch
from alignmixup.functional.puzzlemix.energy import PuzzleSearch
from alignmixup.functional.transport.options import Alignment
from alignmixup.methods import alignmixup, comixup, puzzlemix
from alignmixup.methods.base import RegionMixer
from alignmixup.models import PreActResNet18
from alignmixup.options import options_of

BATCHES = 4
REGIONS = [name for name in methods.available() if issubclass(methods.load(name), RegionMixer)]

# What a method is built with, so that all of its parts take part within a few batches.
SETTING = {
    "alignmixup": {"layer": "stage3"},
    "alignmixup_ae": {"layer": "stage3"},
    "manifold_mixup": {"layer": "stage2", "input_probability": 0.3},
    "comixup": {"group": 5, "peak_window": 2, "clean_scale": "cross_entropy"},
    "puzzlemix": {"blocks": [4, 8], "neighbourhood": 2},
    "attentivemix": {"layer": "stage3", "share": 0.2},
    **NEEDED,
    "multimix": {"mixtures": 20},
    "dense_multimix": {"mixtures": 20, "aligned": True},
    "stylemix": {"autoencoder": "patches:2"},
    "stylecutmix": {"autoencoder": "patches:2"},
}

# Options that show only beside others, or only at some values: what to set beside, and the value.
CASES = {
    ("alignmixup", "epsilon"): ({}, 2.0),
    ("alignmixup", "iterations"): ({}, 2),
    ("alignmixup", "tolerance"): ({}, 0.5),
    ("alignmixup", "max_positions"): ({}, 4),
    ("alignmixup", "layer"): ({}, "stage2"),
    ("remix", "class_counts"): ({}, (1, 1, 1, 1, 1)),
    ("remix", "kappa"): ({}, 20.0),
    ("remix", "tau"): ({"lam_per": "sample"}, 0.0),
    ("multimix", "alpha"): ({}, (0.1, 0.2)),
    ("multimix", "examples"): ({}, 3),
    "input_probability": ({}, 1.0),
    "layer_probabilities": ({"layer": ["stage2", "stage3"]}, [0.0, 1.0]),
    ("alignmixup", "layout"): ({}, "channels_last"),
    ("dense_multimix", "layout"): ({}, "channels_last"),
    ("dense_multimix", "layer"): ({}, "stage1"),
    ("dense_multimix", "aligned"): ({}, False),
    ("alignmixup_ae", "decoder_layer"): ({}, "stage2"),
    ("alignmixup_ae", "reconstruct_aligned"): ({"input_probability": 0.0}, True),
    ("comixup", "blocks"): ({}, 2),
    ("comixup", "gamma"): ({"omega": 0.9, "tau": 0.2}, 5.0),
    ("comixup", "safeguard"): ({"group": 7}, False),
    ("comixup", "clean_scale"): ({}, "bce_softmax"),
    ("comixup", "omega"): ({"tau": 0.3}, 0.9),
    ("comixup", "peak_window"): ({"omega": 0.9, "tau": 0.3}, 8),
    ("comixup", "peak_stride"): ({"omega": 0.9, "tau": 0.3}, 4),
    ("comixup", "tau"): ({}, 0.2),
    ("comixup", "variant"): ({"omega": 0.9, "tau": 0.3}, "as_released"),
    ("cutmix", "alpha"): ({}, 0.1),
    ("smoothmix", "least_sigma"): ({}, 0.1),
    ("attentivemix", "alpha"): ({"share": 0.0}, 0.1),
    ("attentivemix", "lam_per"): ({"share": 0.0}, "sample"),
    ("attentivemix", "layer"): ({}, "stage2"),
    ("attentivemix", "attention"): ({"layer": None}, torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())),
    ("transmix", "layer"): ({}, "stage1.attention"),
    ("tokenmix", "shape"): ({}, "random"),
    ("tokenmix", "patch"): ({}, 2),
    ("puzzlemix", "blocks"): ({}, [2]),
    ("puzzlemix", "neighbourhood"): ({"gamma": 1.0, "beta": 9.0}, 1),
    ("puzzlemix", "transport_size"): ({"blocks": [4]}, 2),
    ("puzzlemix", "clean_scale"): ({"clean_lam": 1.0}, "cross_entropy"),
    ("puzzlemix", "adversarial_epsilon"): ({"adversarial_probability": 1.0}, 0.2),
    ("stylemix", "autoencoder"): ({}, "patches:4"),
    ("stylecutmix", "gamma"): ({}, "auto"),
    ("stylecutmix", "delta"): ({"gamma": "auto"}, 0.5),
    ("stylecutmix", "same_class_distance"): ({"gamma": "auto"}, 0.1),
    ("switch", "mixers"): ({}, ["cutmix", "mixup"]),
    ("switch", "probabilities"): ({}, [1.0, 0.0]),
    ("switch", "class_counts"): ({"mixers": ["remix"]}, (1, 1, 1, 1, 1)),
    ("switch", "mean"): ({"mixers": ["saliencymix"]}, (0.2,)),
    ("switch", "std"): ({"mixers": ["saliencymix"]}, (4.0,)),
    ("saliencymix", "mean"): ({}, (0.2,)),
    ("saliencymix", "std"): ({}, (4.0,)),
    ("alignmixup_ae", "mean"): ({"reconstruction_loss": "perceptual"}, (0.2,)),
    ("alignmixup_ae", "std"): ({"reconstruction_loss": "perceptual"}, (0.5,)),
    "active_epochs": ({}, (1, 2)),
    "multi_label": ({"label_smoothing": 0.1}, True),
    "probability": ({}, 0.4),
    "mean": ({}, (0.2,)),
    "std": ({}, (0.5,)),
    "layer": ({}, "stage1"),
    "keep": ({"keep": "first"}, "partner"),
    "seed": ({}, 4),
    "generator": ({"seed": None}, None),
}

# Options whose other value does not go with the rest, and what is said of it.
REFUSED = {("alignmixup_ae", "layout"): "has not the proportions of images"}
REFUSED |= {("dense_multimix", option): "classifies each position by itself" for option in ("layer", "layout")}
REFUSED[("dense_multimix", "max_positions")] = "name a smaller map, or allow more"
REFUSED[("remix", "multi_label")] = "any number of them: use Mixup"
# of what is visible they must be told, see tests/methods/base/test_region_mixer.py
REFUSED |= {(name, "labels"): "needs to know where the objects are" for name in REGIONS}

# Options that are allowed to change nothing, and why.
EXCEPTIONS = {
    "carry_test": "it refuses layers: at those that pass, batches are the same with it and without",
    "model": "it is what is trained, no setting: methods that need it refuse to be built without",
    "num_classes": "it says how many labels there are: another number is refused with the model's logits",
    "targets": "it says what y is: class indices are other numbers then, see tests/methods/base/test_values.py",
    "alpha_end": "it begins to act in the second epoch, see tests/methods/base/test_pair_mixer.py",
    ("manifold_mixup", "layout"): "a map is interpolated number by number in any layout; tokens are left alone by it",
    ("multimix", "layout"): "outputs are mixed as they stand",
    ("baseline", "seed"): "every method takes one, so that loops build all alike; a baseline draws nothing",
    ("baseline", "generator"): "the same",
}


def network():
    torch.manual_seed(0)
    return PreActResNet18(5, width=4, strides=(1, 2, 2, 1), final_norm=True)


class Autoencoder(torch.nn.Module):
    """Patches, with styles of five classes."""

    def __init__(self):
        super().__init__()
        from alignmixup.models.style_autoencoder import load_style_autoencoder

        self.inner = load_style_autoencoder("patches:2")
        self.class_style = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))

    def encode(self, images):
        return self.inner.encode(images)

    def decode(self, features, size):
        return self.inner.decode(features, size)


def results(name, **options):
    """What a few training steps make, one after another, and leave behind: images, labels, losses, gradients."""
    net, method = fitting(name, network()), methods.load(name)
    known = options_of(method)
    given = {"num_classes": 5, "mean": (0.5,), "std": (0.25,), "seed": 0, "class_counts": (90, 10, 40, 30, 2)}
    options = {key: value for key, value in given.items() if key in known} | SETTING.get(name, {}) | options
    if options.get("gamma") == "auto" or name == "stylecutmix":
        options["autoencoder"] = Autoencoder() if options["autoencoder"] == "patches:2" else options["autoencoder"]
    mixer = method(net, **options)
    images = torch.Generator().manual_seed(5)
    x, y = torch.randn(7, 3, 16, 16, generator=images), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    mixer.prepare(x)
    with torch.no_grad():
        for parameter in mixer.parameters():  # a decoder begins with zeros
            parameter.fill_(0.1)
    for _ in range(BATCHES):
        with mixer(x, y) as batch:
            loss = batch.loss(net(batch.x))
            loss.backward()
        yield from (batch.x, batch.target, loss)
    yield from (p.grad for p in (*net.parameters(), *mixer.parameters()) if p.grad is not None)


def same(first, second):
    return first is not None and second is not None and torch.equal(first, second)


def changed(item):
    """Another value that an option takes, told from its declaration."""
    if item.texts:
        return next(text for text in item.texts if text != item.default)
    if isinstance(item.default, bool):
        return not item.default
    if item.name == "generator":
        return torch.Generator().manual_seed(4)
    for number in (item.default * 3 if item.default else 0.3, item.default / 3, item.default + 1, item.default - 1):
        value = int(number) if isinstance(item.default, int) else number
        try:
            item.check(value)
        except (TypeError, ValueError):
            continue
        if value != item.default:
            return value
    raise AssertionError(f"name another value of {item.name} in CASES")


KIN = {
    "alignmixup_ae": ["alignmixup"],
    "stylecutmix": ["stylemix"],
    "dense_multimix": ["multimix", "alignmixup"],
}


def differs(name, option, cache={}):  # noqa: B006  (what a method gives without the change)
    """Tell whether another value of an option changes what the same draws give."""
    item = options_of(methods.load(name))[option]
    keys = [(name, option), *((other, option) for other in KIN.get(name, [])), option]
    beside, value = next((CASES[key] for key in keys if key in CASES), ({}, None))
    value = changed(item) if value is None else value
    key = (name, repr(sorted(beside.items())))
    if key not in cache:
        cache[key] = list(results(name, **beside))
    other = results(name, **{**beside, option: value})
    return not all(same(*pair) for pair in zip_longest(cache[key], other))  # the first difference is enough


ALL = [(name, option) for name in methods.available() for option in options_of(methods.load(name))]
EXCEPTED = [pair for pair in ALL if pair in EXCEPTIONS or pair[1] in EXCEPTIONS]


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
@pytest.mark.timeout(1800)  # tens of options, on a machine that may be busy
@pytest.mark.parametrize("name", methods.available())
def test_every_option_does_something(name):
    tried = [option for each, option in ALL if each == name and (name, option) not in [*EXCEPTED, *REFUSED]]
    idle = [option for option in tried if not differs(name, option)]
    assert not idle, f"{idle} of {name} change nothing: connect them, or take them away"


@pytest.mark.parametrize(("name", "option"), REFUSED)
def test_or_it_is_refused(name, option):
    with pytest.raises(ValueError, match=REFUSED[name, option]):
        differs(name, option)


def test_exceptions_are_options():
    known = {name for _, name in ALL}
    assert all(pair in ALL or pair in known for pair in [*EXCEPTIONS, *CASES, *REFUSED])


# where a method hands the options of its algorithm on
FORWARDED = [
    (alignmixup, "align_mix", Alignment),
    (comixup, "comixup_masks", CoMixupSearch),
    (puzzlemix, "puzzlemix_mask", PuzzleSearch),
    (puzzlemix, "puzzlemix_transport", ("cost_weight",)),
]
LOST = [
    (module, function, option)
    for module, function, options in FORWARDED
    for option in (options if isinstance(options, tuple) else options_of(options))
    if option != "tries"  # the mixer draws the starts itself, and so the function counts them
]


@pytest.mark.parametrize(("module", "function", "option"), LOST, ids=lambda value: str(value).rpartition(".")[2])
def test_a_disconnected_option_is_noticed(monkeypatch, module, function, option):
    name = module.__name__.rpartition(".")[2]
    forwarded, seen = getattr(module, function), []

    def without(*arguments, **options):
        seen.append(options.pop(option))  # its default, as if it were not handed on
        return forwarded(*arguments, **options)

    monkeypatch.setattr(module, function, without)
    assert not differs(name, option, cache={})
    assert len(set(map(str, seen))) == 2
