import pytest
import torch

from alignmixup.functional.comixup.images import block_means, comixup_compose, peak_distances


def random_masks(groups, inputs, rows, columns, seed=0):
    """Masks with whole and with half/half blocks."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(inputs, (2, groups, inputs, rows, columns), generator=generator)
    return torch.nn.functional.one_hot(labels, inputs).float().mean(0)


def dense(x, masks):
    """The definition: every image weighed by its enlarged mask."""
    groups, inputs, rows, columns, _ = masks.shape
    _, channels, height, width = x.shape
    grown = masks.repeat_interleave(height // rows, 2).repeat_interleave(width // columns, 3)
    images = x.view(groups, inputs, channels, height, width)
    return torch.einsum("gjyxi,gicyx->gjcyx", grown, images).flatten(0, 1)


def test_block_means_by_hand():
    saliency = torch.arange(16.0).view(1, 4, 4)
    assert block_means(saliency, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert block_means(torch.ones(3, 4, 8), 4).shape == (3, 4, 4)


def test_peak_distances_by_hand():
    saliency = torch.zeros(1, 3, 6, 6)
    saliency[0, 0, 0, 0] = saliency[0, 1, 5, 0] = saliency[0, 2, 2, 5] = 1.0
    # windows of 2: the first that holds the peak begins at (0, 0), (4, 0), (1, 4)
    expected = torch.tensor([[[0.0, 4.0, 5.0], [4.0, 0.0, 7.0], [5.0, 7.0, 0.0]]])
    assert torch.equal(peak_distances(saliency, 2, 1), expected)
    # in steps of 2 pixels: (0, 0), (2, 0), (1, 2)
    expected = torch.tensor([[[0.0, 2.0, 3.0], [2.0, 0.0, 3.0], [3.0, 3.0, 0.0]]])
    assert torch.equal(peak_distances(saliency, 2, 2), expected)


def test_windows_are_cut_to_small_images():
    assert torch.equal(peak_distances(torch.rand(2, 3, 4, 6), 8, 1).amax(), torch.tensor(0.0))


def test_peak_distances_are_the_published_ones(golden):
    arrays = golden("comixup_s32_n10_b4_grad")
    found = peak_distances(torch.from_numpy(arrays["saliency"])[None])[0]
    expected = torch.from_numpy(arrays["A_dist"])
    torch.testing.assert_close(found / found.sum(), expected / expected.sum())


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 12)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_composition_equals_the_dense_sum(shape, layout):
    x = torch.randn(10, *shape, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    masks = random_masks(2, 5, 4, 4)
    mixed = comixup_compose(x, masks)
    assert mixed.is_contiguous(memory_format=layout)
    torch.testing.assert_close(mixed, dense(x, masks))


def test_composition_equals_the_published_images(golden):
    arrays = {key: torch.from_numpy(value) for key, value in golden("comixup_s32_n6_b2_blob").items()}
    torch.testing.assert_close(comixup_compose(arrays["x"], arrays["z"][None]), arrays["mixed"])


def test_blocks_of_one_input_are_copied_exactly():
    x = torch.randn(4, 3, 8, 8).half()
    labels = torch.randint(4, (1, 4, 2, 2), generator=torch.Generator().manual_seed(0))
    mixed = comixup_compose(x, torch.nn.functional.one_hot(labels, 4).float())
    assert mixed.dtype == torch.float16
    for j, row, column in [(0, 0, 0), (1, 1, 0), (3, 1, 1)]:
        place = (slice(None), slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
        assert torch.equal(mixed[j][place], x[labels[0, j, row, column]][place])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="do not fit masks"):
        comixup_compose(torch.rand(4, 3, 9, 9), random_masks(1, 4, 2, 2))
    with pytest.raises(ValueError, match="do not fit masks"):
        comixup_compose(torch.rand(5, 3, 8, 8), random_masks(1, 4, 2, 2))


@pytest.mark.parametrize("weights", [(0.7, 0.3), (0.0, 0.0), (1.0, 1.0), (1.0, 0.5), (0.5, 0.0)])
def test_other_weights_than_one_or_two_halves_are_refused(weights):
    masks = torch.tensor(weights).expand(1, 2, 1, 1, 2)
    with pytest.raises(ValueError, match="masks must be one 1 or twice 1/2 in a block"):
        comixup_compose(torch.rand(2, 1, 4, 4), masks)
