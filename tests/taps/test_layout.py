import pytest
import torch
from torch import nn

from alignmixup.taps.layout import apply_in_layout, count_prefix_tokens, guess_layout


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Identity(), (2, 512, 4, 4), "channels_first"),
        (nn.Identity(), (2, 7, 7, 768), "channels_last"),
        (nn.Identity(), (2, 197, 768), "tokens"),
        (nn.Conv2d(3, 64, 1), (2, 64, 90, 160), "channels_first"),
        (nn.BatchNorm2d(8), (2, 8, 8, 8), "channels_first"),
        (nn.LayerNorm(96), (2, 48, 64, 96), "channels_last"),
        (nn.Sequential(nn.Conv2d(96, 96, 1), nn.LayerNorm(96)), (2, 96, 48, 64), "channels_first"),
    ],
)
def test_layouts_are_told_from_shape_and_module(module, shape, expected):
    assert guess_layout(module, shape) == expected


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4, 5, 6)])
def test_other_ranks_are_refused(shape):
    with pytest.raises(ValueError, match=r"cannot mix an output of shape .*: expected \(B, C, h, w\)"):
        guess_layout(nn.Identity(), shape)


def test_an_open_case_asks_for_the_layout():
    with pytest.raises(ValueError, match="pass layout='channels_first' or layout='channels_last'"):
        guess_layout(nn.Identity(), (2, 6, 8, 10))


def test_channels_last_is_shown_as_channels_first():
    output = torch.randn(2, 3, 3, 5)
    result = apply_in_layout(lambda f: f.flip(1), output, "channels_last", 0)
    assert torch.equal(result, output.flip(3))


def test_prefix_tokens_are_left_alone_and_patches_become_a_grid():
    output = torch.randn(2, 2 + 9, 5)
    seen = []

    def record(features):
        seen.append(tuple(features.shape))
        return -features

    result = apply_in_layout(record, output, "tokens", 2)
    assert seen == [(2, 5, 3, 3)]
    assert torch.equal(result[:, :2], output[:, :2])
    assert torch.equal(result[:, 2:], -output[:, 2:])


def test_tokens_that_are_no_square_become_a_column():
    result = apply_in_layout(lambda f: f + f.shape[2] + 100 * f.shape[3], torch.zeros(1, 1 + 12, 2), "tokens", 1)
    assert result[0, :, 0].tolist() == [0.0] + [112.0] * 12


def test_a_patch_embedding_carries_no_class_token_yet():
    result = apply_in_layout(lambda f: f + 1, torch.zeros(1, 16, 2), "tokens", 1)
    assert bool((result == 1).all())


def test_row_major_positions_survive_the_round_trip():
    output = torch.arange(2 * 5 * 3.0).view(2, 5, 3)
    assert torch.equal(apply_in_layout(lambda f: f.clone(), output, "tokens", 1), output)


def test_prefix_tokens_are_counted():
    class TorchvisionLike(nn.Module):
        def __init__(self):
            super().__init__()
            self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
            self.register_tokens = nn.Parameter(torch.zeros(1, 4, 8))

    class TimmLike(TorchvisionLike):
        num_prefix_tokens = 1

    assert count_prefix_tokens(TorchvisionLike()) == 5
    assert count_prefix_tokens(TimmLike()) == 1
    assert count_prefix_tokens(nn.Linear(1, 1)) == 0
