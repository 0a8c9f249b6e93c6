import importlib
import inspect
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from alignmixup import data
from alignmixup.data.decode import decode_image, scaled_center, to_tensor, viewed
from alignmixup.data.order import epoch_generator, mix_seed
from alignmixup.data.streaming import StreamLoader
from alignmixup.data.transforms.augment import preset
from alignmixup.data.transforms.crops import draw_boxes


def loader(root, **options) -> StreamLoader:
    dataset = data.load("folder", root=root)
    common = {"image_size": 16, "batch_size": 4, "mean": (0.0,) * 3, "std": (1.0,) * 3, "workers": 0}
    return StreamLoader(dataset.train, **{**common, **options})


def collect(batches: StreamLoader) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = list(batches)
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def test_options_have_names_and_files_need_a_size(folder):
    for kind in (StreamLoader, data.BatchLoader):
        parameters = list(inspect.signature(kind).parameters.values())
        assert [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY] == ["split"]
    with pytest.raises(TypeError, match="image_size"):
        StreamLoader(data.load("folder", root=folder).train, batch_size=4, mean=(0.0,) * 3, std=(1.0,) * 3)


def test_plain_pass(folder):
    batches = loader(folder)
    x, y = collect(batches)
    assert (len(batches), batches.num_images) == (2, 6)
    assert x.shape == (6, 3, 16, 16)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert (255 * x[:, 0].mean((1, 2))).tolist() == pytest.approx([0, 10, 20, 100, 110, 120], abs=2)


@pytest.mark.parametrize(
    "augment", ["resized_crop_flip", "resized_crop_flip_bicubic", "resized_crop_flip_color", "crop4_flip"]
)
def test_epochs_differ_and_repeat(folder, augment):
    options = {"shuffle": True, "augment": preset(augment)}
    batches = loader(folder, **options)
    first = collect(batches)
    batches.set_epoch(1)
    second = collect(batches)
    assert not torch.equal(first[0], second[0])
    fresh = loader(folder, **options)
    fresh.set_epoch(1)
    assert all(torch.equal(a, b) for a, b in zip(second, collect(fresh), strict=True))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_change_nothing(folder):
    options = {"shuffle": True, "augment": preset("resized_crop_flip_color")}
    alone, helped = loader(folder, **options), loader(folder, workers=2, **options)
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        helped.set_epoch(epoch)
        assert all(torch.equal(a, b) for a, b in zip(collect(alone), collect(helped), strict=True))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_pass_that_another_one_cuts_short_says_so(folder, workers):
    """Workers give their batches to whoever asks: two passes at once would share out one epoch."""
    batches = loader(folder, workers=workers, batch_size=2)
    whole = list(batches)
    first, second = iter(batches), iter(batches)
    assert torch.equal(next(first)[0], whole[0][0])
    assert torch.equal(next(second)[0], whole[0][0])
    if workers:
        with pytest.raises(RuntimeError, match=r"another pass through this loader has begun.*workers=0"):
            next(first)
    else:
        assert torch.equal(next(first)[0], whole[1][0])
    assert torch.equal(torch.cat([x for x, _ in second]), torch.cat([x for x, _ in whole[1:]]))
    assert len(list(batches)) == len(whole)  # one that was broken off is no hindrance


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_signal_to_the_group_of_a_run_leaves_its_workers_at_work(folder):
    batches = iter(loader(folder, workers=2, batch_size=1))
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    deadline = time.monotonic() + 60  # the second one may still be on its way
    while os.getpgrp() in [os.getpgid(worker.pid) for worker in workers] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert os.getpgrp() not in [os.getpgid(worker.pid) for worker in workers]
    assert len(list(batches)) == 5


def test_skipped_batches(folder):
    batches = loader(folder, shuffle=True, augment=preset("resized_crop_flip_color"))
    batches.set_epoch(1)
    whole = list(batches)
    batches.set_epoch(1, skip_batches=1)
    rest = list(batches)
    assert len(rest) == 1
    assert torch.equal(rest[0][0], whole[1][0])


def test_processes_see_together_what_one_process_sees(folder):
    options = {"shuffle": True, "augment": preset("resized_crop_flip")}
    single = collect(loader(folder, batch_size=2, **options))
    ranks = [collect(loader(folder, batch_size=1, rank=rank, world_size=2, **options)) for rank in range(2)]
    together = torch.stack([ranks[0][0], ranks[1][0]], dim=1).flatten(0, 1)
    assert torch.equal(single[0], together)


def test_random_boxes_equal_torchvision_for_the_same_box(folder):
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    files = data.load("folder", root=folder).train
    for number, path in enumerate(files.paths):  # something to see in the images
        generator = torch.Generator().manual_seed(number)
        coarse = torch.rand(1, 3, 8, 8, generator=generator) * 255
        pixels = torch.nn.functional.interpolate(coarse, size=(60, 40 + 10 * number), mode="bicubic").clamp(0, 255)
        v2.to_pil_image(pixels[0].byte()).save(folder / path, quality=95)
    found = collect(loader(folder, augment=preset("resized_crop_flip"), batch_size=6))[0]
    for index, path in enumerate(files.paths):
        image = decode_image(folder / path)
        generator = torch.Generator().manual_seed(mix_seed(0, 0, index, 3))
        box = draw_boxes(1, height=image.height, width=image.width, area=(0.08, 1.0), generator=generator)
        y0, x0, y1, x1 = box[0].tolist()
        expected = v2.pil_to_tensor(v2.resized_crop(image, y0, x0, y1 - y0, x1 - x0, [16, 16])).float() / 255
        best = min((found[index] - turned).abs().mean() for turned in (expected, expected.flip(2)))
        assert best <= 0.1 / 255


def test_images_without_random_boxes_are_those_of_pil(folder):
    found = collect(loader(folder))[0]
    files = data.load("folder", root=folder).train
    for pixels, path in zip(found, files.paths, strict=True):
        expected = to_tensor(scaled_center(decode_image(folder / path), 16, margin=256 / 224))
        assert torch.equal((pixels * 255).round().byte(), expected)


@pytest.mark.parametrize(("how", "workers"), [("truncated", 0), ("garbled", 0), ("empty", 0), ("garbled", 1)])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_damaged_image(folder, damage, how, workers):
    damage(folder / "train" / "dog" / "1.JPEG", how)
    with pytest.raises(ValueError, match=r"^\S+dog/1\.JPEG is (not a readable image|an empty file)"):
        list(loader(folder, workers=workers))


def test_global_generator_is_left_alone(folder):
    state = torch.get_rng_state()
    collect(loader(folder, shuffle=True, augment=preset("resized_crop_flip_color")))
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_workers(folder):
    with pytest.raises(ValueError, match="workers must be >= 0, got -1"):
        loader(folder, workers=-1)


@pytest.mark.parametrize("view", ["center", "squeezed_center", "whole"])
def test_images_show_what_the_view_says(folder, view):
    files = data.load("folder", root=folder).train
    for augment in (None, preset("none")):
        found = collect(loader(folder, view=view, augment=augment))[0]
        for pixels, path in zip(found, files.paths, strict=True):
            assert torch.equal((pixels * 255).round().byte(), to_tensor(viewed(decode_image(folder / path), 16, view)))


def test_squeezed_images_are_cut_at_random(folder):
    augment = preset("squeezed_crop")
    batches = loader(folder, image_size=56, augment=augment, batch_size=6)
    x, _ = collect(batches)
    draw = augment.draw(6, image_size=56, generator=epoch_generator(0, 0, "augment"))
    whole = collect(loader(folder, image_size=64, view="whole"))[0]
    for window, image, (top, left) in zip(x, whole, draw.offset.tolist(), strict=True):
        assert (window - image[:, top : top + 56, left : left + 56]).abs().max() <= 1 / 255 + 1e-6
    assert len({tuple(offset) for offset in draw.offset.tolist()}) > 1


def test_workers_that_could_not_answer_are_refused(folder, tmp_path):
    """In a process of its own: multiprocessing keeps the first folder for temporary files that it sees."""
    (long := tmp_path / ("x" * 100)).mkdir()
    program = f"from tests.data.test_streaming import loader; loader({str(folder)!r}, workers=1)"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(long)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 1
    assert "ValueError: loader workers can open no socket in the folder for temporary files, " in ended.stderr
    assert "TMPDIR" in ended.stderr.splitlines()[-1]
