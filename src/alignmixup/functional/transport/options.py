"""The options of aligning two maps: of the transport plan between their positions and of its cost."""

from dataclasses import dataclass
from typing import Literal

from alignmixup.functional.cells import MAX_POSITIONS
from alignmixup.options import Options, option

Solver = Literal["newton", "plain"]


@dataclass(kw_only=True)
class Alignment(Options):
    """How the positions of two maps are matched."""

    epsilon: float = option(
        0.1,
        "entropic regularisation ε > 0, in units of squared feature distance",
        paper="0.1, in units of squared distance, not normalised",
        above=0,
    )
    iterations: int = option(100, "cap on the Sinkhorn solver's rounds, >= 1", paper="100", minimum=1)
    tolerance: float | None = option(
        None, "stop each sample at this marginal error; None runs the solver's full schedule", above=0
    )
    solver: Solver = option(
        "newton",
        '"newton" converges; "plain" is the published iteration, see docs/studies/solver.md',
        paper='"plain": 100 rounds or a batch-mean stop',
    )
    normalize_cost: bool = option(
        False, "divide each sample's cost by its mean, so that epsilon is relative to the feature scale", paper="False"
    )
    max_positions: int | None = option(
        MAX_POSITIONS,
        "most positions of a plan; larger maps are aligned coarse to fine; None: every position, whatever it costs",
        minimum=1,
    )
