"""What ``train.precision = "auto"`` means on the machine at hand."""

from __future__ import annotations

import logging
import statistics
import time

import torch
from torch.nn import functional as F

BUDGET = 0.5  # seconds
GAIN = 0.9  # share of the time in fp32 below which bf16 is worth its rounding


def choose_precision(name: str, device: torch.device, *, speak: bool = True) -> str:
    """The precision called ``name``; ``auto`` is bf16 where that is faster, else fp32, and says so in one line.

    On a CPU the processor's flags do not tell: some that list bf16 instructions are slower with them. A layer is timed,
    for half a second. On CUDA it is bf16 from Ampere on. Elsewhere it is fp32.

    Convention:
        - bf16 is autocast: weights, transport plans and losses stay float32.
    """
    if name != "auto":
        return name
    if device.type == "cpu":
        share = relative_time()
        chosen, reason = ("bf16" if share < GAIN else "fp32"), f"a layer in bf16 takes {share:.2f} of its time in fp32"
    elif device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        chosen, reason = ("bf16", "this GPU has it") if supported else ("fp32", "this GPU has no bf16")
    else:
        chosen, reason = "fp32", f"bf16 was not tried on {device.type}"
    if speak:
        logging.getLogger(__name__).info('train.precision = "auto" is %s here: %s', chosen, reason)
    return chosen


def relative_time(budget: float = BUDGET) -> float:
    """Time of a convolution, its normalisation and their gradients under bf16 autocast on the CPU, over that in fp32.

    Both take turns, and the median of the rounds' ratios counts, so that a busy machine disturbs both alike.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 64, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, generator=generator).mul_(0.05).requires_grad_()

    def seconds(*, bf16: bool) -> float:
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            maps = images
            for _ in range(2):
                maps = F.relu(F.batch_norm(F.conv2d(maps, weight, padding=1), None, None, training=True))
        torch.autograd.grad(maps.float().square().sum(), weight)
        return time.perf_counter() - begin

    ratios: list[float] = []
    for bf16 in (False, True):  # warms up
        seconds(bf16=bf16)
    begin = time.perf_counter()
    while len(ratios) < 3 or time.perf_counter() - begin < budget:
        plain = seconds(bf16=False)
        ratios.append(seconds(bf16=True) / plain)
    return statistics.median(ratios)
