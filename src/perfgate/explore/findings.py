"""explore.json: what a search was asked, what it cost, and all that it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perfgate import codec
from perfgate.explore.limits import Decomposition, Limit
from perfgate.explore.space import Range, Settings
from perfgate.explore.trials import Effect, Goal, Outcome, Trial
from perfgate.model import OperatingPoint, RunInfo, Veto

# History: 1 - run, goal, budget, ranges, trials, front, best, sweeps, effects, limits, confirmed.
SCHEMA_VERSION = 1

EXPLORE = "explore.json"
HTML = "explore.html"
SVG = "explore.svg"
POINTS = "explore.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a search may spend: candidates and minutes in all, and points measured at the end."""

    candidates: int
    minutes: float
    confirm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What it did spend; `earlier` of the candidates come from sessions before this one."""

    candidates: int
    earlier: int
    search_s: float
    confirm_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One concurrency; `outcome` is None where it could not be served."""

    concurrency: int
    outcome: Outcome | None
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The same settings over rising concurrency."""

    name: str
    rows: tuple[SweepRow, ...]

    @property
    def best(self) -> SweepRow | None:
        """The fastest row that meets the goal."""
        meeting = [row for row in self.rows if row.met]
        return max(meeting, key=_throughput, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A front-runner measured on the target: what was promised, what came of it.

    A measurement with vetoes says nothing; `failure` says why there is none.
    """

    trial: int
    point: str
    promised: Outcome
    measured: Outcome | None = None
    met: bool = False
    vetoes: tuple[Veto, ...] = ()
    failure: str = ""
    records: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """The whole of explore.json; `virtual` says that trials ran in virtual time.

    `best` is the number of the fastest trial that meets the goal, None where none does; `front`
    are the numbers of the trials that no other one beats in throughput and P95 at once.
    """

    schema_version: int = SCHEMA_VERSION
    run: RunInfo
    virtual: bool
    start: OperatingPoint
    start_settings: Settings
    start_outcome: Outcome | None
    goal: Goal
    seed: int
    budget: Budget
    spent: Spent
    ranges: dict[str, Range]
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    best: int | None
    best_point: OperatingPoint | None
    sweeps: tuple[Sweep, ...] = ()
    effects: tuple[Effect, ...] = ()
    importance: dict[str, float] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    decompositions: tuple[Decomposition, ...] = ()
    confirmed: tuple[Confirmed, ...] = ()

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        return self.trials[number]

    @property
    def best_outcome(self) -> Outcome | None:
        """What the best trial reaches."""
        return None if self.best is None else self.trial(self.best).outcome


def load(path: Path) -> Exploration:
    """Read explore.json; RecordsError says what to do if that is not possible."""
    return codec.from_versioned_json(
        path.read_bytes(),
        Exploration,
        version=SCHEMA_VERSION,
        origin=str(path),
        if_older="Explore again",
    )


def _throughput(row: SweepRow) -> float:
    return row.outcome.throughput_tok_s if row.outcome else 0.0
