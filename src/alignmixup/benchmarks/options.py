"""The questions of ``alignmixup benchmark`` and their options. Imports no torch."""

import argparse
from collections.abc import Callable
from typing import Any

SHAPES = ("128x512x4x4", "64x2048x7x7", "256x512x8x8")
# label: method and its options; layers and patches are those of PreActResNet-18
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("baseline", {}),
    "mixup": ("mixup", {}),
    "remix": ("remix", {"class_counts": [100.0] * 100}),
    "cutmix": ("cutmix", {}),
    "resizemix": ("resizemix", {}),
    "smoothmix": ("smoothmix", {}),
    "gridmix": ("gridmix", {}),
    "fmix": ("fmix", {}),
    "attentivemix": ("attentivemix", {}),
    "tokenmix": ("tokenmix", {"patch": 4}),
    "regmixup": ("regmixup", {}),
    "saliencymix": ("saliencymix", {}),
    "puzzlemix": ("puzzlemix", {}),
    "comixup": ("comixup", {}),
    "stylemix, patches": ("stylemix", {"autoencoder": "patches"}),
    "stylecutmix, patches": ("stylecutmix", {"autoencoder": "patches"}),
    "manifold_mixup": ("manifold_mixup", {"layer": ["stage1", "stage2"]}),
    "multimix": ("multimix", {}),
    "dense_multimix": ("dense_multimix", {}),
    "alignmixup (input half, stage4 half)": ("alignmixup", {"layer": "stage4"}),
    "alignmixup, every batch at stage4": ("alignmixup", {"layer": "stage4", "input_probability": 0.0}),
    "alignmixup, every batch at stage3": ("alignmixup", {"layer": "stage3", "input_probability": 0.0}),
    "alignmixup, stage4, plain loop": ("alignmixup", {"layer": "stage4", "input_probability": 0.0, "solver": "plain"}),
    "alignmixup_ae, every batch clean and reconstructed": ("alignmixup_ae", {"layer": "stage4", "clean_share": 1.0}),
}
# of a vision transformer by name
TRANSFORMER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("baseline", {}),
    "mixup": ("mixup", {}),
    "cutmix": ("cutmix", {}),
    "tokenmix": ("tokenmix", {}),
    "transmix": ("transmix", {}),
}


def alignment(parser: argparse.ArgumentParser) -> None:
    """Aligned interpolation, forward and backward, against other formulations; with its floor."""
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), metavar="BxCxHxW", help="features to align")
    parser.add_argument("--scale", type=float, default=1.0, help="standard deviation of the features (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="formulations whose names hold one of these")


def step(parser: argparse.ArgumentParser) -> None:
    """A whole training step with each method over the same step without mixing."""
    parser.add_argument("--width", type=int, help="channels of PreActResNet-18's first stage (default: 64)")
    parser.add_argument(
        "--transformer",
        metavar="NAME",
        default="",
        help="instead a vision transformer with a class token, such as timm:vit_tiny_patch16_224, and its cases",
    )
    parser.add_argument("--batch", type=int, default=128, help="images in a batch (default: 128)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (default: 32)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16", "auto"), default="fp32", help="autocast")
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    modes = ("default", "reduce-overhead", "max-autotune")
    parser.add_argument("--compile-mode", choices=modes, default="default", help="reduce-overhead records CUDA graphs")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CASE",
        choices={**CASES, **TRANSFORMER_CASES},
        help="these cases, and the baseline",
    )
    parser.add_argument("--contiguous", action="store_true", help="images and weights not channels-last")


def scaling(parser: argparse.ArgumentParser) -> None:
    """How the cost of the aligned interpolation grows with positions, batch and channels."""
    parser.add_argument("--largest", type=int, default=2**26, help="skip shapes of more features (default: 2^26)")


def loading(parser: argparse.ArgumentParser) -> None:
    """Images per second from memory to mixed batch, and through the trainer, against the usual loops."""
    parser.add_argument("--images", type=int, default=5120, help="32x32 images in a pass (default: 5120)")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch, an even number (default: 128)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the usual loaders (default: 1)")
    parser.add_argument("--width", type=int, default=8, help="channels of PreActResNet-18's first stage (default: 8)")


def decoding(parser: argparse.ArgumentParser) -> None:
    """Large images: decode, crop, resize, and what workers bring."""
    parser.add_argument("--images", type=int, default=64, help="500x375 JPEGs in a pass (default: 64)")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch (default: 8, for even shares)")
    parser.add_argument("--size", type=int, default=224, help="side of the images that come out (default: 224)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="processes (default: 0 1 2)")
    parser.add_argument("--feed", type=float, default=2500.0, help="images/s to find the workers for (default: 2500)")


def mixing(parser: argparse.ArgumentParser) -> None:
    """Mixing one batch beside timm's and torchvision's ways, images and labels."""
    parser.add_argument("--classes", type=int, default=100, help="classes K (default: 100)")
    parser.add_argument("--pairs", type=int, default=40, help="batches a repetition has of each case (default: 40)")


# the first line of each is what ``--help`` says
QUESTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    question.__name__: question for question in (alignment, step, scaling, loading, decoding, mixing)
}
