"""One AlignMixup step on unmodified models, eager and compiled: does the scoped form work, and do both agree?

python benchmarks/models.py                # all models, eager and compiled by Inductor
python benchmarks/models.py --only resnet18 vit_b_16 --backend aot_eager
"""

import argparse
import logging
import time
import warnings

import timm
import torch
import torchvision
from torch import nn

from alignmixup import AlignMixup

MODELS = [
    "torchvision:resnet18",
    "torchvision:resnet50",
    "torchvision:vgg16_bn",
    "torchvision:mobilenet_v3_small",
    "torchvision:convnext_tiny",
    "torchvision:swin_t",
    "torchvision:vit_b_16",
    "timm:resnet26d",
    "timm:vit_tiny_patch16_224",
    "timm:convnext_atto",
    "timm:mixer_s16_224",
]


def create(name: str) -> nn.Module:
    library, _, model_name = name.partition(":")
    torch.manual_seed(0)
    if library == "torchvision":
        return torchvision.models.get_model(model_name, num_classes=10)
    return timm.create_model(model_name, num_classes=10)


def step(name: str, backend: str | None) -> tuple[float, str, float]:
    """Return loss, layer and seconds of one training step with a hidden draw."""
    torch._dynamo.reset()
    model = create(name)
    for module in model.modules():  # random drops differ between eager and compiled code
        if type(module).__name__ in ("Dropout", "StochasticDepth", "DropPath"):
            module.eval()
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, 224, 224, generator=generator), torch.tensor([0, 1, 2, 3])
    mixer = AlignMixup(model, num_classes=10, input_probability=0.0, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run = model if backend is None else torch.compile(model, backend=backend)
    start = time.perf_counter()
    with mixer(x, y) as batch:
        loss = batch.loss(run(batch.x), nn.functional.cross_entropy)
        loss.backward()
    optimizer.step()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    return loss.item(), next(iter(batch.hidden)), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="parts of model names")
    parser.add_argument("--backend", default="inductor", help="backend of torch.compile")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, {options.backend}"
    )
    print(f"{'model':32} {'layer':34} {'eager loss':>10} {'compiled':>10} {'eager s':>8} {'first compiled s':>16}")
    for name in MODELS:
        if options.only and not any(part in name for part in options.only):
            continue
        eager, layer, eager_seconds = step(name, None)
        compiled, _, compiled_seconds = step(name, options.backend)
        print(
            f"{name:32} {layer:34} {eager:10.5f} {compiled:10.5f} {eager_seconds:8.1f} {compiled_seconds:16.1f}",
            flush=True,
        )
        assert abs(eager - compiled) < 1e-2, f"{name}: eager and compiled steps disagree"


if __name__ == "__main__":
    main()
