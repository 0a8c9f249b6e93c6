"""Wrong arguments of all public functions: a sentence of ours; no crash, silent result or message of a library."""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.processes import in_processes
from torch import Tensor

from alignmixup import functional

PERM = torch.tensor([1, 2, 0])
LAM = torch.tensor([0.2, 0.5, 0.9])


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def calls() -> dict[str, dict[str, Any]]:
    """Name to keyword arguments; batches hold three samples."""
    maps, images, pairing = uniform(3, 4, 2, 2), uniform(3, 3, 8, 8), {"perm": PERM, "lam": LAM}
    plans = (torch.arange(4).expand(3, 4).contiguous(), torch.arange(4).flip(0).expand(3, 4).contiguous())
    box = torch.tensor([[0, 0, 4, 4], [2, 2, 8, 6], [1, 1, 1, 1]])
    restyled = {"restyled": uniform(3, 3, 8, 8, seed=1), "partner_restyled": uniform(3, 3, 8, 8, seed=2)}
    group = uniform(3, 4, 4)
    start = torch.randint(3, (3, 4, 4), generator=torch.Generator().manual_seed(0))
    masks = torch.nn.functional.one_hot(start, 3).float()
    share = uniform(3, 2, 2) / 4
    return {
        "adain": {"content": maps, "style": uniform(3, 4, 3, 3, seed=1)},
        "align": {"a": maps, "b": uniform(3, 4, 3, 2, seed=1), "assignment": uniform(3, 4, 6)},
        "align_mix": {"features": maps, **pairing},
        "alignment_size": {"positions": (4, 4)},
        "assignment_matrix": {"plan": uniform(3, 4, 4)},
        "beta": {"alpha": 1.0, "size": 3, "generator": torch.Generator()},
        "box_lam": {"box": box, "height": 8, "width": 8},
        "box_mask": {"box": box, "height": 8, "width": 8},
        "comixup_compose": {"x": images, "masks": masks[None]},
        "comixup_masks": {"saliency": group, "distances": uniform(3, 3), "prior": uniform(3) + 0.1, "start": start},
        "comixup_objective": {"masks": masks, "saliency": group, "distances": uniform(3, 3), "prior": uniform(3) + 0.1},
        "cost_matrix": {"a": uniform(3, 4, 5), "b": uniform(3, 4, 6)},
        "cutmix": {"x": images, "perm": PERM, "box": box},
        "cutmix_box": {"lam": LAM, "centres": torch.tensor([[0, 1], [2, 3], [4, 5]]), "height": 8, "width": 8},
        "fine_grained_saliency": {"images": (255 * images).byte()},
        "mixup": {"x": images, **pairing},
        "one_hot": {"y": torch.tensor([0, 2, 1]), "num_classes": 3},
        "puzzlemix": {"x": images, "perm": PERM, "mask": uniform(3, 2, 2), "plans": plans, "partner": images},
        "puzzlemix_energy": {"mask": masks[:, :2, :2, 0], "saliency": uniform(3, 8, 8), "images": images, **pairing},
        "puzzlemix_mask": {"saliency": uniform(3, 8, 8), "images": images, **pairing, "blocks": 2},
        "puzzlemix_transport": {"mask": uniform(3, 2, 2), "saliency": share},
        "sinkhorn": {"cost": uniform(3, 4, 5)},
        "smooth": {"target": uniform(3, 4), "amount": 0.1},
        "soft_labels": {"y": torch.tensor([0, 2, 1]), **pairing, "num_classes": 3},
        "spectral_residual_saliency": {"images": (255 * images).byte()},
        "style_distances": {"class_means": uniform(3, 4)},
        "stylecutmix": {
            **{"x": images, "perm": PERM, "mask": images[:, :1] > 0.5},
            **{"style_ratio": LAM, "gamma": LAM.flip(0), **restyled},
        },
        "stylemix": {
            **{"features": maps, "perm": PERM, "content_ratio": LAM},
            **{"style_ratio": LAM, "overlap": LAM},
        },
    }


def function(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(functional, name)
    return found


def leaves(output: object) -> list[Tensor]:
    """The tensors of a result."""
    if isinstance(output, Tensor):
        return [output]
    return [leaf for part in output for leaf in leaves(part)] if isinstance(output, tuple) else []


def tensor_arguments(name: str) -> list[str]:
    return [argument for argument, value in calls()[name].items() if isinstance(value, Tensor)]


PACKAGE = str(Path(functional.__file__).parent)
# What is right whatever the other arguments are, if it is the only tensor.
ALONE_RIGHT = {"one sample more", "one sample fewer", "other device"}


def wrong_values(value: Tensor) -> dict[str, object]:
    """Kinds of mistakes with one argument."""
    kinds: dict[str, object] = {
        "no tensor": "text",
        "a list": value.tolist(),
        "complex": value.to(torch.complex64),
        "sparse": value.to_sparse(),
        "two axes more": value[None, None],
        "one sample more": torch.cat([value, value[:1]]),
        "one sample fewer": value[:-1],
        "other device": value.to("meta"),
    }
    if value.ndim > 1:
        kinds["one axis"] = value.flatten()
        kinds["an empty axis"] = value[..., :0]
    if value.dtype == torch.int64:
        kinds |= {"far too large": value + 1000, "negative": value - 1000, "float": value.float(), "bool": value > 0}
    elif value.dtype == torch.bool:
        kinds |= {"float": value.float(), "int": value.long()}
    else:
        kinds |= {"int": value.int(), "bool": value > 0}
    if value.dtype == torch.uint8:
        kinds = {**kinds, "int": value.float()}
    return kinds


def outcome(name: str, argument: str, wrong: object) -> str:
    """``"returned"``, the refusal of ours, or what else was raised."""
    try:
        function(name)(**{**calls()[name], argument: wrong})
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, (TypeError, ValueError)) and last.filename.startswith(PACKAGE):
            return "refused: " + str(error)
        return f"{type(error).__name__} from {last.filename}:{last.lineno}: {error}"
    return "returned"


def all_outcomes() -> list[tuple[str, str, str, str]]:
    return [
        (name, argument, kind, outcome(name, argument, wrong))
        for name in calls()
        for argument in tensor_arguments(name)
        for kind, wrong in wrong_values(calls()[name][argument]).items()
    ]


def test_every_public_function_is_tried():
    assert set(calls()) == set(functional.__all__) - {"TransportPlan"}
    for name, valid in calls().items():
        function(name)(**valid)


def write_all_outcomes(_, file):
    torch.set_num_threads(1)
    file.write_text(json.dumps(all_outcomes()))


@pytest.mark.xdist_group("processes")
def test_every_mistake_is_refused_in_a_sentence(tmp_path):
    in_processes(write_all_outcomes, tmp_path / "outcomes.json")  # which a read out of bounds may kill
    outcomes = json.loads((tmp_path / "outcomes.json").read_text(encoding="utf-8"))
    assert len(outcomes) > 400
    faults = []
    for name, argument, kind, got in outcomes:
        alone = len(tensor_arguments(name)) == 1 and kind in ALONE_RIGHT
        empty = name == "mixup" and kind == "an empty axis"  # nothing to mix, and nothing is
        if not (got.startswith("refused: ") or ((alone or empty) and got == "returned")):
            faults.append(f"{name}({argument}: {kind}): {got}")
    assert not faults, "\n".join(faults)


def as_laid_out_otherwise(value: Tensor) -> list[Tensor]:
    """The same numbers, no two of them next to each other; and of floats those that memory holds negated."""
    apart = torch.stack([value, torch.zeros_like(value)], -1)[..., 0]
    return [apart, torch._neg_view(-value)] if value.is_floating_point() else [apart]


@contextmanager
def other_defaults() -> Iterator[None]:
    """Another default device, where a tensor has no values, and another default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", sorted(calls()))
def test_the_default_device_and_type_of_the_process_change_nothing(name):
    """``torch.set_default_device("cuda")`` is for the caller's tensors: draws stay on the CPU, results by arguments."""
    given = [calls()[name] for _ in range(2)]
    expected = function(name)(**given[0])
    with other_defaults():
        got = function(name)(**given[1])
    for one, other in zip(leaves(got), leaves(expected), strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(calls()))
def test_integers_of_any_width_and_memory_of_any_order_give_the_same(name):
    if name == "beta":
        return  # no tensors
    expected = function(name)(**calls()[name])
    for argument in tensor_arguments(name):
        value = calls()[name][argument]
        same = as_laid_out_otherwise(value)
        if value.dtype == torch.int64:
            same += [value.to(dtype) for dtype in (torch.uint8, torch.int16, torch.int32)]
        if value.is_floating_point():
            same.append(value.clone().requires_grad_())
        for other in same:
            got = function(name)(**{**calls()[name], argument: other})
            torch.testing.assert_close(got, expected, msg=lambda text, argument=argument: f"{argument}: {text}")


@pytest.mark.parametrize("name", ["mixup", "align_mix", "soft_labels", "puzzlemix_mask"])
def test_one_weight_serves_all(name):
    valid = calls()[name]
    expected = function(name)(**{**valid, "lam": torch.full((3,), 0.3)})
    for lam in (0.3, torch.tensor(0.3), torch.tensor(0.3, dtype=torch.float64)):
        torch.testing.assert_close(function(name)(**{**valid, "lam": lam}), expected)
    for lam, message in ((1.1, r"in \[0, 1\], got 1.1"), (torch.tensor([0.1, 0.2, torch.nan]), r"\[0, 1\], got .*nan")):
        with pytest.raises(ValueError, match=message):
            function(name)(**{**valid, "lam": lam})


def test_half_precision_weights_still_sum_to_one():
    lam = LAM.bfloat16()
    ones = torch.ones(3, 4, 2, 2)
    assert torch.equal(functional.align_mix(ones, PERM, lam), ones)


@pytest.mark.parametrize("name", ["mixup", "align_mix", "stylemix", "cutmix", "puzzlemix"])
def test_an_empty_batch_stays_empty(name):
    nothing = {key: value[:0] if isinstance(value, Tensor) else value for key, value in calls()[name].items()}
    nothing.pop("plans", None)
    assert function(name)(**nothing).shape[0] == 0
