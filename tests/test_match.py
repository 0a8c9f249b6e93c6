"""``benchmarks/match.py``: the same draws for every method, and order that is read or not."""

import argparse

import pytest
import torch
from benchmarks.lite0 import NAME

from alignmixup import models
from benchmarks import match

CLASSES = 3
MAPS = torch.randn(12, 112, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % CLASSES


def built(text):
    torch.manual_seed(0)
    place = match.Place.named(text)
    network = None if place.is_transformer else models.build(f"timm:{NAME}", num_classes=5)
    return place, place.build(network, {4: 112, 5: 192, 6: 320, 7: 1280}[place.stage], CLASSES)


def test_all_methods_draw_the_same():
    _, model = built("tokens.4")
    draws = {}
    for method in ("unaligned", "aligned 1", "aligned 2", "permuted 1", "permuted 2"):
        with match.build_mixer(method, model, "cut", CLASSES, seed=1) as mixer:
            draws[method] = [mixer(MAPS, LABELS).draw for _ in range(6)]
    for others in draws.values():
        for one, other in zip(draws["unaligned"], others, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one.lam, other.lam)
                assert torch.equal(one.perm, other.perm)
    assert {one is None for one in draws["unaligned"]} == {True, False}  # half of the batches
    assert {one.keep for one in draws["aligned 1"] if one} == {"first"}


def test_unaligned_features_stay_in_place():
    mixer = match.UnalignedMixup(built("tokens.4")[1], num_classes=CLASSES, layer="cut")
    perm, lam = torch.arange(12).flip(0), torch.full((12,), 0.25)
    found = mixer.interpolation(perm, lam, "partner")(MAPS)
    torch.testing.assert_close(found, 0.25 * MAPS + 0.75 * MAPS.flip(0))


@pytest.mark.parametrize(("text", "is_read"), [("tokens.4", False), ("inside.4", False), ("blocks.4", True)])
def test_what_reads_the_order_and_what_does_not(text, is_read):
    _, model = built(text)
    model.eval()
    with torch.no_grad():
        found, moved = model(MAPS), model(MAPS.flip(3))
    assert torch.allclose(found, moved, rtol=1e-3, atol=1e-4) != is_read


@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # torch 2.6 steps its own schedulers so
def test_a_run_learns_and_the_layer_carries_everything():
    place, model = built("inside.4")
    means = torch.randn(CLASSES, 112, 1, 1, generator=torch.Generator().manual_seed(1))
    maps = (MAPS + 3 * means[LABELS]).half()
    mixer = match.build_mixer("aligned 2", model, place.layer, CLASSES, seed=0)
    (report,) = mixer.check(maps[:2].float())
    assert report.share == pytest.approx(1, abs=1e-3)
    match.train(model, place.optimizer(model, 0.003), mixer, (maps, LABELS), epochs=20, seed=0)
    assert match.error(model, (maps, LABELS)) == 0
    assert match.error(model, (maps, LABELS), permuted=True) == 0


def test_the_table_pairs_by_seed():
    def run(method, seed, error):
        known = {"place": "blocks.5", "method": method, "seed": seed, "rate": 0.01, "split": "test", "carried": 1.0}
        return known | {"epochs": 12, "error_percent": error, "error_percent_permuted": 50.0}

    runs = [run("unaligned", 0, 20.0), run("unaligned", 1, 30.0), run("permuted 1", 0, 25.0)]
    text = match.table([*runs, run("aligned 1", 0, 21.0), run("aligned 1", 1, 33.0)])
    (line,) = [line for line in text.splitlines() if "aligned 1" in line]
    assert "| 27.00 ± 8.49 | +2.00 ± 1.41 | -4.00 |" in line


@pytest.mark.parametrize("text", ["blocks.7", "gem.6", "stem.4", "mean"])
def test_other_places_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected blocks, tokens or inside"):
        match.Place.named(text)


def test_the_rate_is_chosen_on_held_out_images():
    asked = []

    def ask(run):
        asked.append(run)
        return run | {"error_percent": abs(run["rate"] - 0.01)}

    options = argparse.Namespace(
        at=[match.Place.named("blocks.6")], methods=("none", "aligned 1"), seeds=2, epochs=None, pairs="random"
    )
    match.work(options, ask)
    assert [run["split"] for run in asked] == ["other"] * 3 + ["test"] * 4
    assert {(run["rate"], run["seed"]) for run in asked[3:]} == {(0.01, 0), (0.01, 1)}


def test_the_mean_alone_reads_nothing_of_the_plan():
    """Pooling that is no linear function of the map reads which features were mixed; none reads where they stand."""
    maps, perm, lam = torch.rand(4, 1280, 4, 4), torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.5)
    with torch.no_grad():
        for text in ("mean.7", "gem.7", "attention.7"):
            _, model = built(text)
            if text == "attention.7":
                torch.testing.assert_close(model.features(maps), maps.mean((2, 3)))
                model.features.query.normal_(generator=torch.Generator().manual_seed(0)).mul_(3)
            torch.testing.assert_close(model(maps), model(maps.flip(3)))
            mixers = [match.build_mixer(method, model, "cut", CLASSES, seed=0) for method in ("aligned 1", "unaligned")]
            found, other = (model(mixer.interpolation(perm, lam, "first")(maps)) for mixer in mixers)
            assert torch.allclose(found, other, rtol=1e-3, atol=1e-4) == (text == "mean.7")


def test_soft_plans_are_softer():
    _, model = built("tokens.4")
    mixers = [match.build_mixer(method, model, "cut", CLASSES, seed=0) for method in ("aligned 1", "soft 1")]
    perm, lam = torch.arange(12).flip(0), torch.zeros(12)
    sharp, soft = (mixer.interpolation(perm, lam, "first")(MAPS) for mixer in mixers)
    assert soft.var((2, 3)).mean() < 0.9 * sharp.var((2, 3)).mean()


def test_pairs_of_one_class():
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 1])
    order = match.in_pairs(labels, torch.Generator().manual_seed(0))
    assert len(order) == 10  # class 2 has three, class 1 five
    assert len(order.unique()) == 10
    assert torch.equal(labels[order][::2], labels[order][1::2])
    assert not torch.equal(order, match.in_pairs(labels, torch.Generator().manual_seed(1)))


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.parametrize("method", ["unaligned", "soft 2", "permuted 1"])
def test_pairs_of_one_class_keep_their_labels(method):
    place, model = built("tokens.4")
    mixer = match.build_mixer(method, model, place.layer, CLASSES, seed=0, probability=1.0)
    match.train(model, place.optimizer(model, 0.01), mixer, (MAPS, LABELS), epochs=2, seed=0, pairs="class")
    assert torch.equal(mixer(MAPS, LABELS).draw.perm, torch.arange(12) ^ 1)
