"""Work in other processes."""

import sys
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp

# what takes long to import: the server of processes does it once, and they begin with it
HEAVY = [
    *("pytest", "timm", "torch._dynamo", "torch.distributed.fsdp", "torch.nn.parallel.distributed", "alignmixup"),
    *("lightning.pytorch", "transformers.trainer", "transformers.models.vit.modeling_vit", "accelerate"),
    *("sklearn.datasets", "matplotlib.figure", "PIL.Image", "safetensors.torch", "alignmixup.cli"),
    *("alignmixup.runs.training", "alignmixup.runs.evaluation", "alignmixup.runs.localization_report"),
]


def serve_processes() -> None:
    """Tell the server what to import; the tests that use it are of xdist group ``processes``, to share one."""
    mp.get_context("forkserver").set_forkserver_preload([name for name in HEAVY if name in sys.modules])


def in_processes(work: Callable[..., None], *arguments: Any, count: int = 1) -> None:
    """Call ``work(rank, *arguments)`` in ``count`` processes."""
    serve_processes()
    mp.start_processes(work, args=arguments, nprocs=count, start_method="forkserver")


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(rank, *arguments)`` in two processes."""
    in_processes(work, *arguments, count=2)
