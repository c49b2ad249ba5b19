"""Throughput over latency for several concurrencies, and where more of one costs too much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perfgate.errors import NoSamplesError

MIN_POINTS = 3
FLAT = 0.02
"""Powers this close to the highest are as good: two boots of one server differ by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One concurrency: what it delivers, and how long its median request takes."""

    concurrency: int
    throughput_tok_s: float
    latency_s: float

    @property
    def power(self) -> float:
        """Throughput over latency: what is gained for what is paid."""
        return self.throughput_tok_s / self.latency_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points in rising order of concurrency, and the knee or why there is none."""

    points: tuple[CurvePoint, ...]
    knee: CurvePoint | None
    reason: str


def find_knee(points: Iterable[CurvePoint]) -> Curve:
    """Find the knee: the lowest concurrency whose power is within 2 % of the highest.

    Power is throughput over latency. Up to its maximum a share of throughput costs less than that
    share of latency, beyond it more (Kleinrock, "Power and deterministic rules of thumb for
    probabilistic problems in computer communications", ICC 1979; Jain, "The Art of Computer Systems
    Performance Analysis", 1991, chapter 3). The top is flat, so that of equal powers noise would
    pick one; the lowest concurrency has the shortest latency. Where the maximum lies does not
    depend on where the sweep begins and ends, as long as it lies inside.

    Raises NoSamplesError under three points.
    """
    ordered = tuple(sorted(points, key=lambda point: point.concurrency))
    if len(ordered) < MIN_POINTS:
        msg = f"a curve takes {MIN_POINTS} concurrencies, there are {len(ordered)}: sweep more"
        raise NoSamplesError(msg)
    first, last = ordered[0], ordered[-1]
    best = max(ordered, key=lambda point: point.power)
    knee = next(point for point in ordered if point.power >= (1 - FLAT) * best.power)
    if best is last:
        reason = (
            "throughput over latency still rises at the highest concurrency, "
            f"{last.concurrency}: sweep further to find the knee"
        )
        return Curve(points=ordered, knee=None, reason=reason)
    if knee is first:
        reason = (
            "throughput over latency is highest at the lowest concurrency, "
            f"{first.concurrency}: sweep lower to find the knee"
        )
        return Curve(points=ordered, knee=None, reason=reason)
    flat = "" if knee is best else f", within {FLAT:.0%} of the highest, at {best.concurrency}"
    reason = f"throughput over latency at concurrency {knee.concurrency} is {knee.power:.4g}{flat}"
    return Curve(points=ordered, knee=knee, reason=reason)
