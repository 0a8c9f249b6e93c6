"""Stream: a mixer's random numbers, a function of what is drawn and not of when the mixer was built."""

import os
from copy import deepcopy
from typing import Any, TypeVar

import torch
import torch.distributed
from torch.utils.data import get_worker_info

from alignmixup.functional.arguments import readable
from alignmixup.seeds import mix_bits, reseed

D = TypeVar("D")
_NOT_TOLD = -1  # in place of an epoch


class Stream:
    """The random numbers of one mixer: each batch's depend on (seed, rank, worker, epoch, step) alone.

    Rank and worker are asked for when a batch is drawn. So the state of a stream is the same in every process, and each
    continues its own from any one's. A worker process of a loader counts its own steps; what it draws depends on the
    loader's seed too, which the loader draws anew in each epoch.

    Args:
        seed: any integer; the same in every process of a training.
        generator: CPU generator to draw from in its stead, as it is. In worker processes, where its copies would all
            draw the same, its seed is the stream's.

    Attributes:
        step: batches drawn by this process.
    """

    def __init__(self, seed: int, generator: torch.Generator | None = None) -> None:
        self.seed = seed if generator is None else generator.initial_seed()
        self.step = 0
        self._given = generator
        self._own = torch.Generator()
        self._place: tuple[int, ...] | None = None  # what the numbers of many batches depend on, and its bits
        self._bits = 0
        self._started: int | None = None  # the step whose numbers the generator stands in
        self._looked_up: torch.Generator | None = None
        self._own_draw: tuple[Any, torch.Size, dict[str, Any]] | None = None
        epoch = torch.full((), _NOT_TOLD, dtype=torch.int64, device="cpu")
        self._epoch: torch.Tensor = epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._rank = 0

    @property
    def epoch(self) -> int:
        """The epoch, counted from 0, where it stands until it is set; worker processes see it change."""
        return max(int(self._epoch.item()), 0)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    @property
    def knows_epoch(self) -> bool:
        """The epoch was set."""
        return int(self._epoch.item()) != _NOT_TOLD

    @property
    def generator(self) -> torch.Generator:
        """The generator, standing where the numbers of this batch begin or continue."""
        return self._looked_up or self._at_this_batch()

    def __enter__(self) -> "Stream":
        """Begin the next batch, inside which nothing that its numbers depend on can change."""
        self.step += 1
        self._looked_up = self._at_this_batch()
        return self

    def __exit__(self, *_: object) -> None:
        self._looked_up = self._own_draw = None

    def vouch(self, draw: D, x: torch.Tensor, **shared: Any) -> D:
        """Say that this draw fits these images, so that it need not be checked in the batch that it is drawn for.

        ``shared`` is what holds for all rows, in Python's numbers, so that nothing is read back from tensors.
        """
        if self._looked_up is not None and readable(x):
            self._own_draw = draw, x.shape, shared
        return draw

    def vouched(self, draw: object, x: torch.Tensor) -> dict[str, Any] | None:
        """Give what all rows share of a draw that was vouched for in the batch at hand; None for other draws."""
        known = self._own_draw
        return known[2] if known is not None and known[0] is draw and known[1] == x.shape else None

    def _at_this_batch(self) -> torch.Generator:
        worker = get_worker_info()
        if self._given is not None and worker is None:
            return self._given
        place = (0, 0) if worker is None else (worker.id + 1, worker.seed)
        where = (self.seed, self._find_rank(in_worker=worker is not None), *place, self.epoch)
        if where != self._place:
            self._place, self._bits, self._started = where, mix_bits(*where), None
        if self.step != self._started:
            reseed(self._own, self.step, state=self._bits)
            self._started = self.step
        return self._own

    # What torch.compiler.disable sets, without the seconds that importing it takes: drawing is never traced.
    _at_this_batch._torchdynamo_disable = True  # type: ignore[attr-defined]

    def _find_rank(self, *, in_worker: bool = False) -> int:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank()
        return self._rank if in_worker else _announced_rank()

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands. A generator's state is of one process, whose rank is said."""
        if self._given is None:
            return {"seed": self.seed, "step": self.step, "epoch": self.epoch}
        return {"generator": self._given.get_state(), "rank": self._find_rank(), "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken, with a generator or without one.

        Raises:
            ValueError: the state is of the generator of another rank.
        """
        if "generator" in state:
            rank = self._find_rank()
            if state.get("rank", rank) != rank:
                raise ValueError(
                    f"the state is of the generator that was passed on rank {state['rank']}, and this is rank {rank}, "
                    "which would draw the same: save and load one state a rank, or build mixers without generator=, "
                    "whose state holds for every rank"
                )
            if self._given is None:
                self._given = torch.Generator()
            self._given.set_state(state["generator"].cpu())
            self.seed = self._given.initial_seed()
        else:
            self._given, self.seed, self.step = None, int(state["seed"]), int(state["step"])
        self.epoch, self._started = int(state["epoch"]), None

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is started afresh (spawn) does not know the process group. Generators go as bytes: as tensors
        # they would lie in shared memory that is gone before it looks.
        given = None if self._given is None else bytes(self._given.get_state().tolist())
        return {
            **vars(self),
            "_rank": self._find_rank(),
            "_given": given,
            "_own": None,
            "_started": None,
            "_looked_up": None,
            "_own_draw": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._own = torch.Generator()
        if (given := state["_given"]) is not None:
            self._given = torch.Generator()
            self._given.set_state(torch.frombuffer(bytearray(given), dtype=torch.uint8))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Stream":
        copied = memo[id(self)] = Stream(self.seed, deepcopy(self._given, memo))
        copied.step = self.step
        copied._epoch.copy_(self._epoch)
        return copied


def _announced_rank() -> int:
    """The rank that a launcher (torchrun) announces, for what is drawn before there is a process group."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() else 0


def drawn_seed() -> int:
    """Draw a seed from torch's global generator, as a layer draws its weights: it follows ``torch.manual_seed``."""
    return int(torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu"))


class DrawnFrom:
    """``mixer.generator``: its option, which is read as the generator that stands where the batch's numbers begin."""

    def __get__(self, mixer: Any, owner: type) -> Any:
        if mixer is None:
            return self
        stream: Stream | None = vars(mixer).get("stream")
        return vars(mixer)["generator"] if stream is None else stream.generator

    def __set__(self, mixer: Any, value: Any) -> None:
        vars(mixer)["generator"] = value
