"""From numbers by concurrency to the curve that is drawn: knee, ceiling and roofline added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfgate.hardware import HardwareProfile
from perfgate.measure import curve as measured
from perfgate.measure.curve import MIN_POINTS, find_knee
from perfgate.model import OperatingPoint
from perfgate.report.content import Curve, CurvePoint, RooflinePoint
from perfgate.sim.roofline import Roof, roofline


def traced(
    point: OperatingPoint,
    points: Sequence[CurvePoint],
    latencies_p50_s: Sequence[float],
    profile: HardwareProfile,
) -> Curve:
    """The curve of an engine under `point`'s load; `points` rise in concurrency.

    It has no knee under three points, no ceiling where the point claims none, and no roofline for
    hardware whose profile describes no model.
    """
    found = knee(points, latencies_p50_s)
    roofs = [(int(one.load), roof_at(point, int(one.load), profile)) for one in points]
    return Curve(
        engine=point.engine.name,
        points=tuple(points),
        knee=found.knee.concurrency if found and found.knee else None,
        ceiling_p95_s=point.claim.ceiling_p95_s if point.claim else None,
        roofline=tuple(RooflinePoint(at, roof.tok_s) for at, roof in roofs if roof),
    )


def knee(points: Sequence[CurvePoint], latencies_p50_s: Sequence[float]) -> measured.Curve | None:
    """The knee, or why there is none; None where the points make no curve."""
    if len(points) < MIN_POINTS:
        return None
    return find_knee(
        measured.CurvePoint(
            concurrency=int(one.load),
            throughput_tok_s=one.throughput_tok_s,
            latency_s=latency_s,
        )
        for one, latency_s in zip(points, latencies_p50_s, strict=True)
    )


def roof_at(point: OperatingPoint, concurrency: int, profile: HardwareProfile) -> Roof | None:
    """The roofline at a concurrency; None where the profile describes no model."""
    if profile.simulation is None:
        return None
    return roofline(profile, point.engine, replace(point.workload, concurrency=concurrency))
