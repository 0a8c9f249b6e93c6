"""How long box accuracy takes: maps of 224 x 224 pixels through all 1000 thresholds, both kinds of contours.

python -m benchmarks.localization                  # 10,000 maps of each kind
python -m benchmarks.localization --maps 400
python -m benchmarks.localization --maps 16 --opencv   # OpenCV's contours at every cut, the reference and fallback
"""

import argparse
import itertools
import os
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes

DISTINCT = 250  # maps that are made; they come again and again, and only these are held in memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=10_000, help="of each kind (default: 10000)")
    parser.add_argument("--opencv", action="store_true", help="OpenCV's contours at every cut in place of the C code")
    options = parser.parse_args()
    if options.opencv:
        os.environ["ALIGNMIXUP_NATIVE"] = "0"  # read when the C code is first asked for
    generator = torch.Generator().manual_seed(0)
    kinds = {f"CAM of {side}x{side} positions": activations(side, generator) for side in (7, 14, 28)}
    kinds["white noise"] = torch.rand(DISTINCT, 224, 224, generator=generator)
    boxes = [torch.tensor([[30, 40, 150, 160], [10, 10, 99, 50]])] * options.maps
    sizes = [(224, 224)] * options.maps
    print(f"{options.maps} maps, {torch.get_num_threads()} threads")
    for kind, maps in kinds.items():
        wall, processor = time.perf_counter(), time.process_time()
        table = tabulate_boxes(itertools.islice(itertools.cycle(maps), options.maps), boxes, sizes)
        found = [count_accuracy(table, contours=contours) for contours in ("largest", "all")]
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        figures = f"MaxBoxAcc {found[0].max_box_acc:.1f}, V2 {found[1].max_box_acc_v2:.1f}"
        print(f"{kind:24s} {wall:6.1f} s, {processor:6.1f} s of processor   {figures}", flush=True)


def activations(side: int, generator: torch.Generator) -> Tensor:
    """Random class activation maps as the evaluation makes them: scaled up, then to [0, 1]."""
    coarse = torch.rand(DISTINCT, 1, side, side, generator=generator, dtype=torch.float64)
    maps = F.interpolate(coarse, (224, 224), mode="bicubic")[:, 0]
    low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
    return (maps - low) / (high - low)


if __name__ == "__main__":
    main()
