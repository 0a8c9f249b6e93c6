import math

import pytest
import torch
from torch import nn

from alignmixup.taps.layout import ExtraTokens, Form, guess_layout, leaf_layout, named_tokens, tell_form


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Identity(), (2, 512, 4, 4), "channels_first"),
        (nn.Identity(), (2, 7, 7, 768), "channels_last"),
        (nn.Identity(), (2, 197, 768), "tokens"),
        (nn.BatchNorm2d(8), (2, 8, 8, 8), "channels_first"),
        (nn.LayerNorm(96), (2, 48, 64, 96), "channels_last"),
        (nn.LayerNorm(96), (2, 48, 96), "tokens"),
        (nn.Sequential(nn.Conv2d(96, 96, 1), nn.LayerNorm(96)), (2, 96, 48, 64), "channels_first"),
        (nn.Sequential(nn.Conv1d(2, 16, 5), nn.ReLU()), (2, 16, 50), "channels_first"),
        (nn.AdaptiveAvgPool1d(1), (2, 96, 1), "channels_first"),
        (nn.Identity(), (2, 96, 1), "channels_first"),
        (nn.Identity(), (2, 4, 8, 8, 8), "channels_first"),
    ],
)
def test_layouts_are_told_from_the_module_before_the_shape(module, shape, expected):
    assert guess_layout(module, shape) == expected


FIRST, LAST, TOKENS = ("channels_first", (2, 8, 20)), ("channels_last", (2, 6, 10, 8)), ("tokens", (2, 20, 8))
MAP = ("channels_first", (2, 8, 6, 10))


@pytest.mark.parametrize(
    ("before", "shape", "expected"),
    [
        (FIRST, (2, 8, 9), "channels_first"),  # pooled, sliced
        (FIRST, (2, 8, 8), "channels_first"),
        (FIRST, (2, 12, 20), "channels_first"),  # joined
        (FIRST, (2, 12, 9), "channels_first"),  # both
        (FIRST, (2, 20, 8), "tokens"),
        (FIRST, (2, 21, 8), "tokens"),  # with a class token
        (FIRST, (2, 20, 12), "tokens"),
        (TOKENS, (2, 9, 8), "tokens"),
        (TOKENS, (2, 8, 8), "tokens"),
        (TOKENS, (2, 20, 12), "tokens"),
        (TOKENS, (2, 8, 20), "tokens"),  # turned back behind a layer that mixes positions
        (TOKENS, (2, 5, 7), "tokens"),
        (None, (2, 8, 20), "tokens"),
        (MAP, (2, 8, 3, 5), "channels_first"),
        (MAP, (2, 12, 6, 10), "channels_first"),
        (MAP, (2, 3, 5, 8), "channels_last"),
        (LAST, (2, 3, 5, 8), "channels_last"),
        (LAST, (2, 6, 10, 12), "channels_last"),
        (LAST, (2, 8, 3, 5), "channels_first"),
    ],
)
def test_what_functions_make_of_a_known_output_keeps_its_channels_or_its_positions(before, shape, expected):
    assert guess_layout(nn.Dropout(), shape, before) == expected


def test_recurrent_layers_put_features_last_whatever_ran_before():
    assert guess_layout(nn.LSTM(16, 24), (2, 20, 24), ("channels_first", (2, 16, 40))) == "tokens"
    assert guess_layout(nn.GRU(20, 20, bidirectional=True), (2, 20, 40), ("channels_first", (2, 20, 20))) == "tokens"


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(32, 32, 32), (32, 32, 48), (8, 32, 48), (48, 32, 32)])
def test_convolutions_norms_and_pools_put_channels_first_whatever_the_sizes(rank, sizes):
    shape = (4, 32, *sizes[:rank])
    for kind in ("Conv{}d", "ConvTranspose{}d"):
        assert guess_layout(getattr(nn, kind.format(rank))(3, 32, 1), shape) == "channels_first"
    for kind in ("BatchNorm{}d", "InstanceNorm{}d", "MaxPool{}d", "AvgPool{}d", "AdaptiveAvgPool{}d"):
        assert guess_layout(getattr(nn, kind.format(rank))(32), shape) == "channels_first"


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layer_norms_and_linear_layers_put_them_last(rank):
    shape = (4, *[32] * rank, 32)
    expected = "tokens" if rank == 1 else "channels_last"
    assert guess_layout(nn.LayerNorm(32), shape) == guess_layout(nn.Linear(8, 32), shape) == expected


def test_a_channels_first_layer_norm_is_known_by_its_width():
    class LayerNorm2d(nn.LayerNorm):
        pass

    assert leaf_layout(LayerNorm2d(32), (2, 32, 32, 32)) == "channels_first"
    assert leaf_layout(nn.LayerNorm(32), (2, 32, 32, 32)) == "channels_last"


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"cannot mix an output of shape .*: expected \(B, C, h, w\)"):
        guess_layout(nn.Identity(), (2, 5))


@pytest.mark.parametrize("shape", [(2, 6, 8, 10), (2, 3, 4, 5, 6)])
def test_an_open_case_lists_the_choices(shape):
    with pytest.raises(ValueError, match="pass layout='channels_first' or layout='channels_last'"):
        guess_layout(nn.Identity(), shape)


@pytest.mark.parametrize(
    ("form", "shape", "seen"),
    [
        (Form("channels_first"), (2, 3, 7), (2, 3, 7)),
        (Form("channels_first"), (2, 3, 4, 5), (2, 3, 4, 5)),
        (Form("channels_first"), (2, 3, 2, 4, 5), (2, 3, 2, 4, 5)),
        (Form("channels_last"), (2, 4, 5, 3), (2, 3, 4, 5)),
        (Form("channels_last"), (2, 2, 4, 5, 3), (2, 3, 2, 4, 5)),
        (Form("tokens"), (2, 9, 3), (2, 3, 3, 3)),
        (Form("tokens"), (2, 10, 3), (2, 3, 10, 1)),
        (Form("tokens", grid=(2, 5)), (2, 10, 3), (2, 3, 2, 5)),
        (Form("tokens", extra=(0,), grid=(2, 5)), (2, 11, 3), (2, 3, 2, 5)),
        (Form("tokens", extra=(10,), grid=(2, 5)), (2, 11, 3), (2, 3, 2, 5)),
        (Form("tokens", extra=(4, 7)), (2, 11, 3), (2, 3, 3, 3)),
    ],
)
def test_every_form_is_shown_as_a_map_and_comes_back(form, shape, seen):
    output = torch.randn(shape)
    shapes = []

    def record(features):
        shapes.append(tuple(features.shape))
        return 2 * features

    torch.testing.assert_close(form.apply(record, output), 2 * output)
    assert shapes[-1] == seen
    assert form.axes(shape) == seen[2:]
    assert form.positions(shape) == math.prod(seen[2:])
    assert form.to_map(output).ndim == 4


@pytest.mark.parametrize("extra", [(0, 1), (9, 10), (5,), (0, 6)])
def test_extra_tokens_are_one_map_of_one_position_wherever_they_stand(extra):
    count = 9 + len(extra)
    output = torch.randn(4, count, 5)
    form, places = Form("tokens", extra), [place for place in range(count) if place not in extra]
    lam, perm = 0.3, torch.tensor([1, 2, 3, 0])
    mixed = form.apply(lambda f: lam * f + (1 - lam) * f[perm], output)
    torch.testing.assert_close(mixed, lam * output + (1 - lam) * output[perm])
    assert torch.equal(form.to_map(output), output[:, places].transpose(1, 2).reshape(4, 5, 3, 3))
    moved = form.apply(lambda f: f.flip(-1, -2), output, to_extra=lambda f: -f)
    assert torch.equal(moved[:, list(extra)], -output[:, list(extra)])
    assert torch.equal(moved[:, places], output[:, places[::-1]])


@pytest.mark.parametrize(
    ("count", "prefix", "grids", "expected"),
    [
        (16, 1, {}, (0, None)),  # a patch embedding: the class token comes later
        (17, 1, {}, (1, None)),
        (99, 1, {98: (14, 7)}, (1, (14, 7))),
        (100, 1, {99: (11, 9)}, (1, (11, 9))),  # a square number that is no square
        (98, 1, {98: (14, 7)}, (0, (14, 7))),
        (12, 0, {12: (3, 4)}, (0, (3, 4))),
    ],
)
def test_which_tokens_are_positions_follows_from_what_ran_before(count, prefix, grids, expected):
    form = tell_form("tokens", (2, count, 8), ExtraTokens(prefix), grids)
    assert (len(form.extra), form.grid) == expected


def test_named_tokens_are_counted():
    class TorchvisionLike(nn.Module):
        def __init__(self):
            super().__init__()
            self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
            self.register_tokens = nn.Parameter(torch.zeros(1, 4, 8))

    class TimmLike(TorchvisionLike):
        num_prefix_tokens = 1

    assert named_tokens(TorchvisionLike()).named == 5
    assert named_tokens(TimmLike()).named == 1
    assert named_tokens(nn.Sequential(TimmLike())).named == 1
    assert named_tokens(nn.Linear(1, 1)).named == 0
