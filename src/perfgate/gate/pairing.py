"""Which server to start next, or what to say: the paired job as a function of its history.

    B C C B B C C B ...     or, where stored sessions can screen,     C B B C C B B C ...

Every element is a fresh server start. A start that failed or was vetoed is repeated in place. The
rules are blind to the arm but for one: what befalls the candidate twice running, while the base
runs clean on the same host, is the candidate's doing, and a regression of function. Two faults with
sound starts between them are not: in a job of twenty starts, chance alone brings those about. Other
work on the machine is nobody's doing, however often it hits one arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean

from perfgate.gate.losses import from_fraction, log_cost
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.screen import upper_loss_bound
from perfgate.gate.sequential import stand
from perfgate.gate.series import Rules, Series, Standing
from perfgate.model import Limits, Verdict

TWICE = 2
MOST_DISTURBED = 4
"""Of a job; they are repeated in place, and are nobody's doing."""
WINDOWS = 6
"""Of each of two servers that stay up."""


class Arm(StrEnum):
    """Which of the two is served."""

    BASE = "base"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One server start: its values by cell (`point:metric`), or why there are none.

    `disturbed` says that the fault was other work on the machine, by the client's own clocks.
    """

    arm: Arm
    minutes: float
    values: dict[str, float] = field(default_factory=dict)
    fault: str = ""
    disturbed: bool = False

    @property
    def sound(self) -> bool:
        """Whether its values may be judged."""
        return not self.fault


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPlan:
    """What the job is about: its primary cells, what they were calibrated with, what it may cost.

    `pair_sd` is by cell; `stored` holds by cell one value a session of the base, and is empty where
    they are too few or too old to screen. `own` are the limits of single cells, `budget_minutes`
    is of the target's time. Without `restarts` both arms are servers that stay up, and a "start" is
    a window of load.
    """

    primary: tuple[str, ...]
    secondary: tuple[str, ...] = ()
    pair_sd: dict[str, float]
    stored: dict[str, tuple[float, ...]] = field(default_factory=dict)
    tolerance: float
    margin: float
    own: dict[str, Limits] = field(default_factory=dict)
    budget_minutes: float
    restarts: bool = True

    @property
    def screens(self) -> bool:
        """Whether the candidate's first run can pass a primary cell."""
        return all(self.stored.get(cell) for cell in self.primary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Start a server of this arm next."""

    arm: Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The job is over."""

    verdict: Verdict
    reason: str
    standing: Standing | None = None


def next_step(plan: PairedPlan, rules: Rules, history: Sequence[Start]) -> Go | Stop:
    """The next start, or the verdict: decided, out of budget, or broken."""
    if not plan.restarts:
        return _next_window(plan, history)
    if ended := _faults(history):
        return ended
    standing = stand(series(plan, plan.primary, history), rules)
    if standing.verdict is not None:
        return Stop(verdict=standing.verdict, reason=standing.reason, standing=standing)
    arm = _turn(plan, history)
    if _affordable(plan, history):
        return Go(arm=arm)
    return _out_of_budget(plan, rules, history, standing)


def _next_window(plan: PairedPlan, history: Sequence[Start]) -> Go | Stop:
    """Two servers that stay up: as many windows of each as were planned, and then no verdict.

    The difference between them holds how two starts differ, maybe two hosts, and no number of
    windows averages that away: neither a loss nor the lack of one can be proven.
    """
    faults = [start.fault for start in history if not start.sound]
    if len(faults) >= TWICE:
        reason = f"{len(faults)} windows were not sound: {faults[0]}"
        return Stop(verdict=Verdict.INVALID, reason=reason)
    if len(history) - len(faults) < 2 * WINDOWS and _affordable(plan, history):
        return Go(arm=_turn(plan, history))
    reason = (
        "two running servers, each started once: how starts and hosts differ is part of the "
        "difference and of no bound, so this is a comparison and no verdict"
    )
    return Stop(verdict=Verdict.INCONCLUSIVE, reason=reason)


def series(plan: PairedPlan, cells: Sequence[str], history: Sequence[Start]) -> tuple[Series, ...]:
    """The runs of each cell so far, in both arms."""
    return tuple(_series(plan, cell, history) for cell in cells)


def _series(plan: PairedPlan, cell: str, history: Sequence[Start]) -> Series:
    point, _, metric = cell.rpartition(":")
    arms: Mapping[Arm, tuple[float, ...]] = {
        arm: tuple(start.values[cell] for start in history if start.sound and start.arm is arm)
        for arm in Arm
    }
    one = Series(
        point=point,
        metric=BY_NAME[metric],
        base=arms[Arm.BASE],
        candidate=arms[Arm.CANDIDATE],
        pair_sd=plan.pair_sd[cell],
    )
    return replace(one, screened=_screened(plan, one))


def _screened(plan: PairedPlan, one: Series) -> bool:
    if not plan.screens or not one.candidate or one.name not in plan.primary:
        return False
    stored = [log_cost(one.metric, value) for value in plan.stored[one.name]]
    bound = upper_loss_bound(stored, log_cost(one.metric, one.candidate[0]))
    return bool(bound < from_fraction(plan.own.get(one.name, plan).margin))


def _turn(plan: PairedPlan, history: Sequence[Start]) -> Arm:
    """Whose turn it is in the order of sound starts; a faulty one is repeated in place."""
    if _running(history) >= TWICE:
        return Arm.BASE  # is it the host, or the candidate?
    sound = sum(start.sound for start in history)
    second = sound % 4 in {1, 2}
    return Arm.CANDIDATE if second != plan.screens else Arm.BASE


def _faults(history: Sequence[Start]) -> Stop | None:
    """What repeated faults mean; None while they may be chance or the base is not heard."""
    disturbed = [start for start in history if start.disturbed]
    if len(disturbed) > MOST_DISTURBED:
        reason = f"{len(disturbed)} starts were disturbed by other work: {disturbed[0].fault}"
        return Stop(verdict=Verdict.INVALID, reason=reason)
    base, candidate = (_faulty(history, arm) for arm in (Arm.BASE, Arm.CANDIDATE))
    if base >= TWICE or (base and candidate >= TWICE):
        reason = f"the base failed {base} times and the candidate {candidate}: {_first(history)}"
        return Stop(verdict=Verdict.INVALID, reason=reason)
    heard = any(start.sound and start.arm is Arm.BASE for start in history)
    if _running(history) >= TWICE and heard:
        reason = f"the candidate failed {TWICE} times running, the base never: {_first(history)}"
        return Stop(verdict=Verdict.REGRESSION, reason=reason)
    return None


def _running(history: Sequence[Start]) -> int:
    """How many of the candidate's latest starts failed one after the other."""
    tried = [start for start in history if start.arm is Arm.CANDIDATE and not start.disturbed]
    return next((back for back, one in enumerate(reversed(tried)) if one.sound), len(tried))


def _faulty(history: Sequence[Start], arm: Arm) -> int:
    faults = [start for start in history if not start.sound and not start.disturbed]
    return sum(start.arm is arm for start in faults)


def _first(history: Sequence[Start]) -> str:
    return next(start.fault for start in history if not start.sound and not start.disturbed)


def _affordable(plan: PairedPlan, history: Sequence[Start]) -> bool:
    """Whether the budget pays for one more start, at the mean price so far."""
    if not history:
        return True
    spent = sum(start.minutes for start in history)
    return spent + fmean(start.minutes for start in history) <= plan.budget_minutes


def _out_of_budget(
    plan: PairedPlan, rules: Rules, history: Sequence[Start], standing: Standing
) -> Stop:
    spent = sum(start.minutes for start in history)
    reason = (
        f"the budget of {plan.budget_minutes:g} minutes is spent ({spent:.1f}) after "
        f"{standing.pairs} pairs and neither is proven"
    )
    if standing.pairs >= rules.boundaries.design.first_look:  # the last look asks more questions
        last = stand(series(plan, plan.primary, history), replace(rules, most_pairs=standing.pairs))
        if last.verdict not in {None, Verdict.INCONCLUSIVE}:
            return Stop(verdict=last.verdict, reason=last.reason, standing=last)
        standing = last
    return Stop(verdict=Verdict.INCONCLUSIVE, reason=reason, standing=standing)
