import pytest
import torch
from tests.networks import TinyTransformer
from torch import nn

from alignmixup import TokenMix
from alignmixup.methods.tokenmix import patch_size, token_mask
from alignmixup.models import PreActResNet18


def batch(height=32, width=32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, height, width, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("shape", ["blocks", "random"])
@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_whole_patches_show_one_image_and_labels_are_their_share(shape, lam_per):
    mixer, (x, y) = TokenMix(patch=4, shape=shape, lam_per=lam_per, num_classes=3, seed=0), batch()
    for _ in range(5):
        mixed = mixer(x, y)
        for row, partner in enumerate(mixed.perm.tolist()):
            own = 0
            for top in range(0, 32, 4):
                for left in range(0, 32, 4):
                    part = slice(top, top + 4), slice(left, left + 4)
                    is_own = bool(mixed.draw.tokens[row, top // 4, left // 4])
                    assert torch.equal(mixed.x[row][:, *part], x[row if is_own else partner][:, *part])
                    own += is_own
            torch.testing.assert_close(mixed.lam[row], torch.tensor(own / 64))
            expected = torch.zeros(3)
            expected[y[row]] += own / 64
            expected[y[partner]] += 1 - own / 64
            torch.testing.assert_close(mixed.target[row], expected)


@pytest.mark.parametrize("shape", ["blocks", "random"])
def test_the_published_share_fills_112_of_196_tokens(shape):
    mixer = TokenMix(patch=16, share=112 / 196, shape=shape, lam_per="sample", num_classes=3, seed=0)
    target = mixer.clean(*batch(224, 224)).target
    filled = torch.cat([(~mixer.draw(batch(224, 224)[0], target).tokens).sum((1, 2)) for _ in range(10)])
    assert bool((filled <= 112).all())
    assert (filled == 112).float().mean() > 0.9  # rectangles may find no place for the last tokens


def pieces(tokens):
    """Number of connected parts of what is filled."""
    left = {tuple(place) for place in (~tokens).nonzero().tolist()}
    count = 0
    while left:
        count, todo = count + 1, [left.pop()]
        while todo:
            row, column = todo.pop()
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= near
            todo += near
    return count


def test_blocks_are_fewer_and_larger_than_random_tokens():
    found = {}
    for shape in ("blocks", "random"):
        mixer = TokenMix(patch=16, share=0.4, shape=shape, lam_per="sample", num_classes=3, seed=0)
        x, y = batch(224, 224)
        found[shape] = sum(pieces(tokens) for _ in range(5) for tokens in mixer(x, y).draw.tokens)
    assert 30 <= found["blocks"] < found["random"] / 3


def test_patches_that_do_not_divide_the_image_are_cut_at_its_end():
    mixer, (x, y) = TokenMix(patch=8, lam_per="sample", num_classes=3, seed=0), batch(19, 30)
    mixed = mixer(x, y)
    assert mixed.draw.tokens.shape == (6, 3, 4)
    torch.testing.assert_close(mixed.lam, mixed.mask().mean((1, 2)))
    tokens = torch.tensor([[[True, False]]])
    assert token_mask(tokens, 2, 2, 3).tolist() == [[[True, True, False]] * 2]


def test_the_patches_of_the_model_are_found():
    assert patch_size(TinyTransformer(3, patch=4)) == 4
    mixer = TokenMix(TinyTransformer(3, patch=8), num_classes=3, seed=0)
    assert mixer(*batch()).draw.tokens.shape == (6, 4, 4)
    mixer.patch = 4
    assert mixer(*batch()).draw.tokens.shape == (6, 8, 8)


def test_what_it_needs():
    needs = r"needs to know the patches: .* as TokenMix\(model, ...\), or their side in pixels, as TokenMix\(patch=16"
    overlapping = nn.Sequential(nn.Conv2d(3, 4, 7, stride=4), nn.Flatten(), nn.LazyLinear(3))
    for model in (None, PreActResNet18(3, width=4), overlapping):
        with pytest.raises(ValueError, match=needs):
            TokenMix(model, num_classes=3)
