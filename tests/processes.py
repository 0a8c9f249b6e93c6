"""Work in two processes."""

import sys
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp

# what takes long to import: the server of processes does it once, and they begin with it
HEAVY = [
    *("pytest", "timm", "torch._dynamo", "torch.distributed.fsdp", "torch.nn.parallel.distributed", "alignmixup"),
    *("lightning.pytorch", "transformers.trainer", "transformers.models.vit.modeling_vit", "accelerate"),
]


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(rank, *arguments)`` in two processes; the tests that do are of one xdist group, to share a server."""
    mp.get_context("forkserver").set_forkserver_preload([name for name in HEAVY if name in sys.modules])
    mp.start_processes(work, args=arguments, nprocs=2, start_method="forkserver")
