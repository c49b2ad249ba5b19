"""What the paired gate is given and what it says: values only.

Losses are shares of the base's work: 0.05 is 5 % slower, below 0 is faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from perfgate.errors import UsageError
from perfgate.gate.boundaries import Boundaries
from perfgate.gate.estimator import Array
from perfgate.gate.losses import from_fraction, pair_losses
from perfgate.gate.metrics import Metric
from perfgate.model import Limits, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The runs of one cell (a metric at a point) in both arms, each in the order measured.

    `pair_sd` is the calibrated sd of one pair's log-loss; `screened` says that the candidate's
    first run has already passed this cell against the stored sessions.
    """

    point: str
    metric: Metric
    base: tuple[float, ...]
    candidate: tuple[float, ...]
    pair_sd: float
    screened: bool = False

    def __post_init__(self) -> None:
        """Refuse a scatter of nothing: it would prove anything."""
        if not self.pair_sd > 0:
            raise UsageError(f"{self.name}: pair_sd", self.pair_sd, "it must be above 0")

    @property
    def name(self) -> str:
        """The cell's name, such as `fp8-b192-c160:throughput_tok_s`."""
        return f"{self.point}:{self.metric.name}"

    @property
    def losses(self) -> tuple[float, ...]:
        """The log-loss of each whole pair."""
        return pair_losses(self.metric, self.base, self.candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the paired gate decides by.

    `tolerance` and `margin` are the limits of all cells but those in `own`; `most_pairs` is what
    the budget pays for.
    """

    tolerance: float
    margin: float
    own: Mapping[str, Limits] = field(default_factory=dict)
    boundaries: Boundaries
    most_pairs: int

    def __post_init__(self) -> None:
        """Refuse limits between which nothing lies, and a budget that pays for no look."""
        self.of("")
        if self.most_pairs < self.boundaries.design.first_look:
            least = self.boundaries.design.first_look
            raise UsageError("pairs in the budget", self.most_pairs, f"it takes at least {least}")

    def of(self, cell: str) -> Limits:
        """The limits of one cell."""
        return self.own.get(cell, Limits(tolerance=self.tolerance, margin=self.margin))

    def log_limits(self, cells: Sequence[str]) -> tuple[Array, Array]:
        """Tolerances and margins of `cells` (cells,) as log-losses."""
        limits = [self.of(cell) for cell in cells]
        tolerances, margins = (
            np.array([from_fraction(value) for value in values])
            for values in zip(*((one.tolerance, one.margin) for one in limits), strict=True)
        )
        return tolerances, margins

    @property
    def last(self) -> int:
        """The last look this job can pay for."""
        return min(self.most_pairs, self.boundaries.design.last_look)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellState:
    """Where one cell stands.

    `base` and `candidate` are medians of the arms in the metric's unit. `low` and `high` are the
    bounds that decide; `low` is None at looks too early to prove a loss. `smallest_seen` is the
    loss this job would find with a chance of 80 % if it used all its pairs, and 1 where so few
    pairs can prove none.
    """

    cell: str
    pairs: int
    base: float
    candidate: float
    loss: float
    low: float | None
    high: float
    smallest_seen: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the job stands; `verdict` is None while it must go on."""

    verdict: Verdict | None
    pairs: int
    reason: str
    cells: tuple[CellState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """A secondary cell: its loss, the chance of it where there is none, whether it is told."""

    cell: str
    pairs: int
    loss: float
    p_value: float
    told: bool
