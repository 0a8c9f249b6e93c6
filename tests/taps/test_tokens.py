import pytest
import torch
from torch import nn

from alignmixup import AlignMixup, TransMix
from alignmixup.evaluation.localization.cam import ClassActivation
from alignmixup.taps.probe import feature_maps
from alignmixup.taps.sample import Inputs
from alignmixup.taps.tokens import extra_tokens

X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 3])
PATCHES = 9


class Transformer(nn.Module):
    """Nine patches and learned tokens of no known name; without positions, so that their places change nothing."""

    def __init__(self, extra=(0,), *, norm_first=True, name="mine"):
        super().__init__()
        torch.manual_seed(0)
        self.extra, self.name = extra, name
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.register_parameter(name, nn.Parameter(torch.randn(len(extra), 8)))
        block = [nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first) for _ in range(3)]
        self.blocks = nn.Sequential(*block)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        own = iter(getattr(self, self.name).expand(len(x), -1, -1).unbind(1))
        rest = iter(tokens.unbind(1))
        count = tokens.shape[1] + len(self.extra)
        extra = [place + count - PATCHES - len(self.extra) if place >= PATCHES else place for place in self.extra]
        tokens = torch.stack([next(own) if place in extra else next(rest) for place in range(count)], 1)
        tokens = self.blocks(tokens)
        return self.head(tokens[:, extra[0]] if extra else tokens.mean(1))


def found(model, x=X):
    return extra_tokens(model, Inputs((x,), {}, len(x))).fixed


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("extra", [(0,), (9,), (4,), (0, 1, 2), (0, 10), ()])
def test_tokens_that_no_image_changes_are_found_wherever_they_stand(extra, norm_first):
    places = found(Transformer(extra, norm_first=norm_first))
    count = PATCHES + len(extra)
    assert {length: tuple(place % length for place in some) for length, some in places.items()} == (
        {count: extra} if extra else {}
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_they_are_found_in_every_precision(dtype):
    assert found(Transformer((9,)).to(dtype), X.to(dtype)) == {10: (-1,)}


def test_patches_that_are_black_in_every_image_are_no_extra_tokens():
    digits = X.clone()
    digits[:, :, :4] = digits[:, :, 8:] = 0
    assert found(Transformer((0,)), digits) == {10: (0,)}


def test_images_that_take_no_noise_tell_nothing():
    class OfBytes(Transformer):
        def forward(self, x):
            return super().forward(x / 255)

    assert found(OfBytes((9,)), (255 * X).byte()) == {}


def test_a_model_that_refuses_noise_is_known_by_name():
    class Strict(Transformer):
        def forward(self, x):
            if x.min() < 0:
                raise ValueError("expected values of 0 and more")
            return super().forward(x)

    assert found(Strict((9,))) == {}


def test_channels_that_are_dead_are_no_tokens():
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 10, 3)
            nn.init.zeros_(self.conv.weight[4:])
            self.norm = nn.BatchNorm1d(10)

        def forward(self, x):
            return self.norm(self.conv(x)).mean(2)

    assert found(Sequences(), X.flatten(2)) == {}


@pytest.mark.parametrize(("extra", "side"), [((0,), 3), ((9,), 3), ((4,), 3), ((2, 7), 3), ((0,), 4), ((9,), 4)])
@pytest.mark.parametrize("layer", [0, 1])
def test_extra_tokens_are_mixed_as_they_stand_and_the_patches_as_if_there_were_none(extra, side, layer):
    model = Transformer(extra)
    seen = []
    model.blocks[layer + 1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    mixer = AlignMixup(model, num_classes=4, layer=f"blocks.{layer}", input_probability=0.0, seed=3)
    mixer.prepare(X)
    x = torch.rand(4, 3, 4 * side, 4 * side)  # images of another size may follow
    model(x)
    clean = seen[-1]
    with mixer(x, Y) as batch:
        model(batch.x)
        (hidden,) = batch.hidden.values()
    mixed, lam, perm = seen[-1], batch.draw.lam.view(-1, 1, 1), batch.draw.perm
    own = [place + side * side - PATCHES if place >= PATCHES else place for place in extra]
    rest = [place for place in range(side * side + len(extra)) if place not in own]
    torch.testing.assert_close(mixed[:, own], lam * clean[:, own] + (1 - lam) * clean[perm][:, own])
    patches = hidden.function(clean[:, rest].transpose(1, 2).reshape(4, 8, side, side)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(mixed[:, rest], patches)


def test_maps_have_the_patches_alone():
    first, last = Transformer((0,)), Transformer((9,))
    maps = [feature_maps(model, X, ["blocks.0"])["blocks.0"] for model in (first, last)]
    torch.testing.assert_close(maps[0], maps[1])
    seen = [ClassActivation(model, X, layer="blocks.1")(X, Y)[0] for model in (first, last)]
    torch.testing.assert_close(seen[0], seen[1])


def test_transmix_reads_the_class_token_in_front_only():
    for places in ((9,), (1,), (0, 9)):
        model = Transformer(places, name="cls_token")
        with pytest.raises(ValueError, match=r"of the 1\d of Transformer lie at no patch, expected the class token"):
            TransMix(model, num_classes=4)(X, Y)
    mixer = TransMix(Transformer((0, 1, 2), name="cls_token"), num_classes=4)
    mixer.prepare(X)
    assert mixer._attention.prefix == 3
