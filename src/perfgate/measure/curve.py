"""Throughput over latency for several concurrencies, and where more of one costs too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfgate.errors import NoSamplesError
from perfgate.model import Measurement

MIN_POINTS = 3
SATURATED_GAIN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One concurrency: what it delivers, and how long its median request takes."""

    concurrency: int
    throughput_tok_s: float
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points in rising order of concurrency, and the knee or why there is none."""

    points: tuple[CurvePoint, ...]
    knee: CurvePoint | None
    reason: str


def trace_curve(measurements: Iterable[Measurement]) -> Curve:
    """Trace the curve of measurements of one engine at several concurrencies."""
    return find_knee(
        CurvePoint(
            concurrency=measurement.point.workload.concurrency,
            throughput_tok_s=measurement.throughput_tok_s,
            latency_s=measurement.latency_s.p50,
        )
        for measurement in measurements
    )


def find_knee(points: Iterable[CurvePoint]) -> Curve:
    """Find the knee by Kneedle: with both axes scaled to 0..1, throughput less latency peaks there.

    Satopaa, Albrecht, Irwin and Raghavan, "Finding a 'Kneedle' in a Haystack: Detecting Knee
    Points in System Behavior", ICDCS Workshops 2011; a handful of points needs no smoothing.
    The scale depends on where the sweep ends, so a sweep that ends before saturation has no knee.

    Raises NoSamplesError under three points.
    """
    ordered = tuple(sorted(points, key=lambda point: point.concurrency))
    if len(ordered) < MIN_POINTS:
        msg = f"a curve takes {MIN_POINTS} concurrencies, there are {len(ordered)}: sweep more"
        raise NoSamplesError(msg)
    if reason := _no_knee(ordered):
        return Curve(points=ordered, knee=None, reason=reason)
    throughput = _scaled([point.throughput_tok_s for point in ordered])
    latency = _scaled([point.latency_s for point in ordered])
    position = int(np.argmax(throughput - latency))
    return Curve(
        points=ordered,
        knee=ordered[position],
        reason=f"concurrency {ordered[position].concurrency} has {throughput[position]:.0%} of the"
        f" throughput to be gained between {ordered[0].concurrency} and {ordered[-1].concurrency},"
        f" for {latency[position]:.0%} of the latency",
    )


def _no_knee(ordered: Sequence[CurvePoint]) -> str:
    before, last = ordered[-2:]
    gain = last.throughput_tok_s / before.throughput_tok_s - 1
    if gain > SATURATED_GAIN:
        return (
            f"throughput still rises by {gain:.0%} from concurrency {before.concurrency} to"
            f" {last.concurrency}: sweep further to find the knee"
        )
    if max(point.throughput_tok_s for point in ordered) <= ordered[0].throughput_tok_s:
        return f"throughput does not rise beyond concurrency {ordered[0].concurrency}: sweep lower"
    if max(point.latency_s for point in ordered) <= ordered[0].latency_s:
        return "latency does not rise with concurrency, so that nothing is traded"
    return ""


def _scaled(values: Sequence[float]) -> NDArray[np.float64]:
    """Scale to 0 at the first value and 1 at the highest."""
    array = np.array(values, dtype=np.float64)
    scaled: NDArray[np.float64] = (array - array[0]) / (array.max() - array[0])
    return scaled
