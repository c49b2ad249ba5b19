"""Which rate to offer next: a decision over what has been offered so far.

Without a list the rate is doubled from one request a second until it no longer holds, and the
interval between the last that held and the first that did not is halved until it is narrower than a
sixteenth of its upper end, or ends at a request in sixteen seconds. A rate holds where the server
keeps up with it and P95 stays under its ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from perfgate.errors import UsageError
from perfgate.model import ArrivalProcess, Arrivals, OperatingPoint, Sampling
from perfgate.sweep.choice import OVERHEAD_S, Done, require_budget, spent

_FIRST = 1.0
_LEAST = 1 / 16
_RESOLUTION = 16
_LEAST_ROUND = 15  # requests; four such rounds hold a P95
_ROUND_S = 8.0  # longer than a request takes, so that a round of ramp fills the server


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePlan:
    """What a sweep of rates may do: fixed `rates`, or its own within `budget_s`.

    `sampling` is what the engine's closed loop is measured with; see `sampling_of` for a rate's.
    """

    sampling: Sampling
    budget_s: float
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a sweep of nothing."""
        for rate in self.rates:
            if not 0 < rate < inf:
                raise UsageError("--rate", rate, "it must be above 0")
        require_budget(self.budget_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the choice knows of a rate: whether it held, or None where that could not be measured.

    `seconds` is what it cost.
    """

    requests_per_s: float
    seconds: float
    held: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRate:
    """Offer this rate, for this reason; `expected_s` is what it should take."""

    requests_per_s: float
    why: str
    expected_s: float


def next_rate(plan: RatePlan, seen: Sequence[Offered]) -> NextRate | Done:
    """Choose the next rate, or say why there is none."""
    known = {one.requests_per_s for one in seen}
    if plan.rates:
        left = sorted(set(plan.rates) - known)
        done = Done(why="every rate asked for is measured")
        return _next(plan, left[0], "asked for") if left else done
    return _chosen(plan, seen)


def _chosen(plan: RatePlan, seen: Sequence[Offered]) -> NextRate | Done:
    unknown = [one.requests_per_s for one in seen if one.held is None]
    if unknown:
        return Done(why=f"{min(unknown):g} requests/s could not be measured")
    high = min((one.requests_per_s for one in seen if not one.held), default=inf)
    # A higher rate may have held by chance, or have been offered by an earlier list.
    good = (one.requests_per_s for one in seen if one.held and one.requests_per_s < high)
    low = max(good, default=0.0)
    if high == inf:
        return _within_budget(plan, seen, 2 * low or _FIRST, "the rate before held")
    if high <= _LEAST:
        return Done(why=f"not even {high:g} requests/s holds")
    if high - low <= high / _RESOLUTION:
        return Done(why="the highest rate that holds is known to a sixteenth")
    return _within_budget(plan, seen, (low + high) / 2, "between a rate that held and one too high")


def sampling_of(plan: RatePlan, rate: float) -> Sampling:
    """How a rate is measured: rounds of eight seconds, and of enough requests for a P95."""
    return replace(plan.sampling, round_requests=max(_LEAST_ROUND, ceil(_ROUND_S * rate)))


def rate_seconds(plan: RatePlan, rate: float) -> float:
    """What measuring a rate should take: the ramp's rounds, its own, and one to end in."""
    sampling = sampling_of(plan, rate)
    rounds = sampling.ramp + sampling.rounds + 1
    return rounds * sampling.round_requests / rate + OVERHEAD_S


def open_loop(point: OperatingPoint, *, most_in_flight: int) -> OperatingPoint:
    """The closed loop `point` with Poisson arrivals, at a rate that says nothing yet.

    So many requests in flight at once are a backlog.
    """
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=_FIRST)
    load = replace(point.workload, arrivals=arrivals, concurrency=most_in_flight)
    return replace(point, workload=load)


def at_rate(point: OperatingPoint, plan: RatePlan, rate: float, *, name: str) -> OperatingPoint:
    """The open loop `point` at one rate."""
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=rate)
    return replace(
        point,
        id=name,
        workload=replace(point.workload, arrivals=arrivals),
        sampling=sampling_of(plan, rate),
    )


def _within_budget(
    plan: RatePlan, seen: Sequence[Offered], rate: float, why: str
) -> NextRate | Done:
    chosen = _next(plan, rate, why)
    left_s = plan.budget_s - sum(one.seconds for one in seen)
    if chosen.expected_s <= left_s:
        return chosen
    return spent(plan.budget_s, left_s, f"{rate:g} requests/s ({why})", chosen.expected_s)


def _next(plan: RatePlan, rate: float, why: str) -> NextRate:
    return NextRate(requests_per_s=rate, why=why, expected_s=rate_seconds(plan, rate))
