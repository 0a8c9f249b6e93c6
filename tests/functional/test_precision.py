"""Types wide enough, and what a device without float64 does instead."""

import contextlib
from pathlib import Path

import pytest
import torch

import alignmixup.functional
from alignmixup.functional.precision import exact_product, where_wide, widest
from alignmixup.functional.puzzlemix.images import puzzlemix_transport
from alignmixup.functional.saliency import raw_byte_saliency, spectral_residual_saliency
from alignmixup.functional.sampling import cutmix_box


def test_only_mps_lacks_float64():
    assert widest(torch.device("mps")) == torch.float32
    assert widest(torch.device("cpu")) == widest(torch.device("cuda")) == torch.float64
    x = torch.ones(2)
    assert where_wide(x) is x


@pytest.mark.needs_torch("2.9", "no product on a CPU can be told to round")
@pytest.mark.parametrize("rounded", ["tf32", "bf16"])
def test_products_of_labels_are_not_rounded(rounded):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 300, 300, generator=generator).softmax(-1)
    target = torch.eye(300).expand(3, -1, -1)
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = rounded
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            product = exact_product(weights, target)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert product.dtype == torch.float32
    assert torch.equal(product, weights)


def test_no_label_is_made_by_a_product_that_a_backend_may_round():
    source = Path(alignmixup.functional.__file__).parents[1]
    for path in (source / "methods").glob("*.py"):
        lines = [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if " @ " in line or "matmul(" in line or "bmm(" in line
        ]
        assert not lines, f"{path.name}: {lines[0].strip()}: use exact_product"


class NoFloat64(torch.utils._python_dispatch.TorchDispatchMode):
    """A device without float64: refuses to make any."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in torch.utils._pytree.tree_leaves(result):
            assert not isinstance(one, torch.Tensor) or one.dtype != torch.float64, f"{function} makes float64"
        return result


IMAGES = torch.randint(256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
STEPS = {
    "spectral": lambda: spectral_residual_saliency(IMAGES),
    "raw": lambda: raw_byte_saliency(IMAGES.float()),
    "transport": lambda: puzzlemix_transport(torch.ones(2, 4, 4), torch.rand(2, 4, 4)),
    "box": lambda: cutmix_box(torch.rand(2), torch.zeros(2, 2, dtype=torch.int64), 16, 16),
    "cost": lambda: alignmixup.functional.cost_matrix(*torch.rand(2, 1, 4, 9).requires_grad_().unbind()),
    "labels": lambda: exact_product(torch.rand(2, 3), torch.rand(3, 4)),
}
ON_THE_CPU = {"spectral", "raw", "transport"}


class ElsewhereError(Exception):
    """What follows happens on the CPU, which has float64."""


@pytest.mark.parametrize("name", STEPS)
def test_float64_is_only_made_where_a_device_has_it(name, monkeypatch):
    def cpu(self):
        raise ElsewhereError

    with pytest.raises(AssertionError, match="makes float64"), NoFloat64():
        STEPS[name]()
    for module in ("precision", "sampling", "transport.plan"):
        monkeypatch.setattr(f"alignmixup.functional.{module}.widest", lambda device: torch.float32)
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    with NoFloat64(), pytest.raises(ElsewhereError) if name in ON_THE_CPU else contextlib.nullcontext():
        STEPS[name]()
