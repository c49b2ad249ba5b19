"""Which concurrency to measure next: a decision over what has been measured so far.

First a coarse grid: every power of two up to twice max_batch_size, and max_batch_size, where the
curve has its corner. Then, as long as the budget lasts, in this order:

1. halve the interval in which P95 crosses its ceiling,
2. halve those beside the highest throughput over latency and below the knee,
3. halve the interval in which a straight line is furthest from the curve,

each until it is narrower than a sixteenth of its upper end: there two neighbours differ by little
more than two rounds of one of them do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from perfgate.errors import UsageError
from perfgate.measure.curve import FLAT
from perfgate.model import Sampling

_RESOLUTION = 16
_BEND = 0.01  # of the highest value: a line that is closer than this needs no point between
_LEAST_ROUND = 15  # requests; four such rounds hold a P95
OVERHEAD_S = 3.0  # prompts, connections, the load's end
_UNKNOWN_LATENCY_S = 5.0  # before anything is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What a sweep of one engine may do: fixed `concurrencies`, or its own within `budget_s`.

    `sampling` is what a point is measured with at max_batch_size; see `sampling_at` for others.
    """

    max_batch_size: int
    sampling: Sampling
    budget_s: float
    ceiling_p95_s: float | None = None
    concurrencies: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a sweep of nothing."""
        for concurrency in self.concurrencies:
            if concurrency < 1:
                raise UsageError("--concurrency", concurrency, "it must be at least 1")
        require_budget(self.budget_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the choice knows of a concurrency: its numbers, or None where it could not be measured.

    `seconds` is what it cost.
    """

    concurrency: int
    seconds: float
    throughput_tok_s: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """Measure this concurrency, for this reason; `expected_s` is what it should take."""

    concurrency: int
    why: str
    expected_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Measure no more, for this reason."""

    why: str


def next_choice(plan: SweepPlan, seen: Sequence[Seen]) -> Next | Done:
    """Choose the next concurrency, or say why there is none."""
    known = {one.concurrency for one in seen}
    for concurrency in grid(plan):
        if concurrency not in known:
            why = "asked for" if plan.concurrencies else "coarse grid"
            return _within_budget(plan, seen, concurrency, why)
    if plan.concurrencies:
        return Done(why="every concurrency asked for is measured")
    unmeasured = set()
    for concurrency, why in _refinements(plan, seen):
        if concurrency not in known:
            return _within_budget(plan, seen, concurrency, why)
        unmeasured.add(concurrency)
    if unmeasured:
        told = ", ".join(map(str, sorted(unmeasured)))
        return Done(why=f"all else is known to a sixteenth, but {told} could not be measured")
    return Done(why="knee, ceiling and bends are known to a sixteenth")


def grid(plan: SweepPlan) -> tuple[int, ...]:
    """The concurrencies that are measured whatever is found, in rising order."""
    if plan.concurrencies:
        return tuple(sorted(set(plan.concurrencies)))
    most = 2 * plan.max_batch_size
    powers = {2**exponent for exponent in range(most.bit_length()) if 2**exponent <= most}
    return tuple(sorted(powers | {plan.max_batch_size}))


def sampling_at(plan: SweepPlan, concurrency: int) -> Sampling:
    """How a concurrency is measured: half of its clients' requests a round, and enough for a P95.

    At a concurrency so low that this would take many latencies, each client sends one request a
    round, and there is no P95. One request a client fills the engine; where requests queue, the
    plan's own ramp lets the queue build up.
    """
    full = concurrency >= plan.max_batch_size
    return replace(
        plan.sampling,
        round_requests=max(-(-concurrency // 2), min(_LEAST_ROUND, concurrency)),
        ramp=plan.sampling.ramp if full else 1,
    )


def expected_seconds(plan: SweepPlan, seen: Sequence[Seen], concurrency: int) -> float:
    """What measuring a concurrency should take: its waves of requests at the latency expected."""
    sampling = sampling_at(plan, concurrency)
    waves = sampling.ramp + sampling.rounds * sampling.round_requests / concurrency + 1
    return waves * _expected_latency(plan, seen, concurrency) + OVERHEAD_S


def require_budget(budget_s: float) -> None:
    """Refuse a sweep that may take no time."""
    if budget_s <= 0:
        raise UsageError("--minutes", budget_s / 60, "it must be above 0")


def spent(budget_s: float, left_s: float, load: str, expected_s: float) -> Done:
    """The end of a sweep whose budget does not pay for one more load."""
    return Done(
        why=f"the budget of {budget_s / 60:g} min is spent: {load} would take {expected_s:.0f} s"
        f" more, {max(left_s, 0):.0f} s are left"
    )


def _within_budget(
    plan: SweepPlan, seen: Sequence[Seen], concurrency: int, why: str
) -> Next | Done:
    expected_s = expected_seconds(plan, seen, concurrency)
    left_s = plan.budget_s - sum(one.seconds for one in seen)
    if expected_s <= left_s or plan.concurrencies:
        return Next(concurrency=concurrency, why=why, expected_s=expected_s)
    return spent(plan.budget_s, left_s, f"concurrency {concurrency} ({why})", expected_s)


def _expected_latency(plan: SweepPlan, seen: Sequence[Seen], concurrency: int) -> float:
    known = sorted((one.concurrency, one.latency_p50_s) for one in seen if one.latency_p50_s)
    if not known:
        return _UNKNOWN_LATENCY_S
    clients, latencies = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
    latency = float(np.interp(concurrency, clients, latencies))
    # Once the batch is full the server has nothing more to give: latency grows as the load.
    return latency * max(1.0, concurrency / max(float(clients[-1]), plan.max_batch_size))


@dataclass(frozen=True, slots=True)
class _Measured:
    concurrency: int
    throughput: float
    latency: float
    p95: float | None

    @property
    def power(self) -> float:
        return self.throughput / self.latency


def _refinements(plan: SweepPlan, seen: Sequence[Seen]) -> Iterator[tuple[int, str]]:
    """Every concurrency worth measuring, the most telling first."""
    curve = sorted(
        (
            _Measured(one.concurrency, one.throughput_tok_s, one.latency_p50_s, one.latency_p95_s)
            for one in seen
            if one.throughput_tok_s and one.latency_p50_s
        ),
        key=lambda one: one.concurrency,
    )
    pairs = [pair for pair in pairwise(curve) if _wide(*pair)]
    for low, high in pairs:
        if _crosses(low, high, plan.ceiling_p95_s):
            yield _middle(low, high), f"P95 crosses {plan.ceiling_p95_s:g} s here"
    best = max((one.power for one in curve), default=0.0)
    near = (1 - FLAT) * best
    beside = [(low, high) for low, high in pairs if best in (low.power, high.power)]
    beside += [(low, high) for low, high in pairs if low.power < near <= high.power]
    for low, high in sorted(beside, key=lambda pair: pair[0].concurrency - pair[1].concurrency):
        yield _middle(low, high), "beside the knee"
    bends = _bends(curve)
    for low, high in sorted(pairs, key=lambda pair: -bends[pair[0].concurrency]):
        if bends[low.concurrency] > _BEND:
            yield _middle(low, high), "the curve bends here"


def _wide(low: _Measured, high: _Measured) -> bool:
    return high.concurrency - low.concurrency > max(1, high.concurrency // _RESOLUTION)


def _middle(low: _Measured, high: _Measured) -> int:
    return (low.concurrency + high.concurrency) // 2


def _crosses(low: _Measured, high: _Measured, ceiling_s: float | None) -> bool:
    if ceiling_s is None or high.p95 is None:
        return False
    return (low.p95 or 0.0) <= ceiling_s < high.p95


def _bends(curve: Sequence[_Measured]) -> dict[int, float]:
    """By the lower end of each interval: how far a line inside it may be from the curve.

    At an inner point the line between its neighbours is off by e; with intervals a and b beside it,
    the second difference is 2 e / (a b), and a line over an interval h is off by h^2 / 8 of it.
    """
    bends = dict.fromkeys((one.concurrency for one in curve), 0.0)
    for low, middle, high in zip(curve, curve[1:], curve[2:], strict=False):
        below = middle.concurrency - low.concurrency
        above = high.concurrency - middle.concurrency
        error = max(
            _line_error(
                curve, [getattr(one, name) for one in (low, middle, high)], name, below, above
            )
            for name in ("throughput", "latency")
        )
        for one, width in ((low, below), (middle, above)):
            bend = error * width**2 / (4 * below * above)
            bends[one.concurrency] = max(bends[one.concurrency], bend)
    return bends


def _line_error(
    curve: Sequence[_Measured], values: Sequence[float], name: str, below: int, above: int
) -> float:
    low, middle, high = values
    line = low + (high - low) * below / (below + above)
    return abs(middle - line) / float(max(getattr(one, name) for one in curve))
