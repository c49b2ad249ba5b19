"""From a sweep's measurements to its curve, its knee and its operating range in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from perfgate.hardware import HardwareProfile
from perfgate.measure.bands import Band, mean_band
from perfgate.measure.limits import Limit, Reason, limit_between
from perfgate.model import OperatingPoint
from perfgate.report import numbers
from perfgate.report.content import Curve, CurvePoint
from perfgate.report.sentences import between
from perfgate.report.traced import knee, roof_at, traced
from perfgate.sweep.content import EngineSweep, OperatingRange, Result, Row, Taken

_ONE_BOOT = (
    "Bands are 95 % intervals inside one boot: of throughput over the rounds, of P95 over the "
    "requests. They are the least it can be off by; another boot may differ by more, which --boots "
    "measures."
)
_MORE_BOOTS = "Bands are 95 % intervals over the means of {boots} boots."


def result_of(sweep: EngineSweep, profile: HardwareProfile) -> Result | None:
    """What the sound measurements say; None where there is none."""
    groups = _by_concurrency(sweep.sound)
    if not groups:
        return None
    rows = tuple(_row(group, profile) for group in groups)
    curve = curve_of(sweep.point, rows, profile)
    found = knee(curve.points, [row.latency_p50_s for row in rows])
    reason = found.reason if found else "three concurrencies make a curve: sweep more"
    operating = _operating_range(groups, curve, profile)
    boots = min(row.boots for row in rows)
    return Result(
        rows=rows,
        knee=curve.knee,
        knee_reason=reason,
        operating_range=operating,
        sentence=_sentence(operating, curve, reason),
        bands=_ONE_BOOT if boots == 1 else _MORE_BOOTS.format(boots=boots),
    )


def curve_of(point: OperatingPoint, rows: Sequence[Row], profile: HardwareProfile) -> Curve:
    """The curve that is drawn of a result's rows."""
    points = [
        CurvePoint(
            row.concurrency,
            row.throughput_tok_s,
            row.latency_p95_s,
            row.throughput_band,
            row.latency_p95_band,
        )
        for row in rows
    ]
    return traced(point, points, [row.latency_p50_s for row in rows], profile)


def _by_concurrency(taken: Sequence[Taken]) -> list[list[Taken]]:
    groups: dict[int, list[Taken]] = {}
    for one in taken:
        groups.setdefault(one.concurrency, []).append(one)
    return [groups[concurrency] for concurrency in sorted(groups)]


def _row(group: Sequence[Taken], profile: HardwareProfile) -> Row:
    measured = [one.measurement for one in group]
    first, point = group[0], measured[0].point
    p95s = [one.latency_s.p95 for one in measured if one.latency_s.p95 is not None]
    alone = len(group) == 1
    speeds = measured[0].round_tok_s if alone else [one.throughput_tok_s for one in measured]
    roof = roof_at(point, first.concurrency, profile)
    uses = [one.resources for one in measured if one.resources]
    return Row(
        concurrency=first.concurrency,
        boots=len(group),
        throughput_tok_s=fmean(one.throughput_tok_s for one in measured),
        throughput_band=mean_band(speeds),
        latency_p50_s=fmean(one.latency_s.p50 for one in measured),
        latency_p95_s=fmean(p95s) if len(p95s) == len(group) else None,
        latency_p95_band=first.p95_band if alone else _of_boots(p95s, len(group)),
        ttft_p50_s=fmean(one.ttft_s.p50 for one in measured),
        tpot_p50_s=_mean([one.tpot_s.p50 if one.tpot_s else None for one in measured]),
        active_mean=_mean([use.active_mean for use in uses]),
        waiting_mean=_mean([use.waiting_mean for use in uses]),
        kv_cache_peak=max(
            (u.kv_cache_peak for u in uses if u.kv_cache_peak is not None), default=None
        ),
        roofline_tok_s=roof.tok_s if roof else None,
    )


def _of_boots(values: Sequence[float], boots: int) -> Band | None:
    return mean_band(values) if len(values) == boots else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _operating_range(
    groups: Sequence[Sequence[Taken]], curve: Curve, profile: HardwareProfile
) -> OperatingRange | None:
    if curve.operating_range is None or curve.ceiling_p95_s is None:
        return None
    low, high = curve.operating_range
    speeds = {point.load: point.throughput_tok_s for point in curve.points}
    reason = _end(groups, high, curve, profile)
    return OperatingRange(
        low=low,
        high=high,
        low_tok_s=speeds[low],
        high_tok_s=speeds[high],
        ceiling_p95_s=curve.ceiling_p95_s,
        limit=reason.limit,
        evidence=reason.evidence,
    )


def _end(
    groups: Sequence[Sequence[Taken]], high: int, curve: Curve, profile: HardwareProfile
) -> Reason:
    """Why the range ends at `high`: what happens at the next concurrency that was measured."""
    inside = next(group for group in groups if group[0].concurrency == high)
    later = [group for group in groups if group[0].concurrency > high]
    if not later:
        return Reason(limit=Limit.UNKNOWN, evidence="no higher concurrency was measured")
    beyond = later[0]
    at = beyond[0].concurrency
    seconds = next(p.latency_p95_s for p in curve.points if p.load == at)
    if seconds is None:
        return Reason(limit=Limit.UNKNOWN, evidence=f"at {at} the requests are too few for a P95")
    roof = roof_at(beyond[0].measurement.point, at, profile)
    reason = limit_between(
        inside[0].measurement, beyond[0].measurement, by_memory=roof.by_memory if roof else None
    )
    said = f"at {at} P95 is {numbers.duration(seconds)}: {reason.evidence}"
    return Reason(limit=reason.limit, evidence=said)


def _sentence(operating: OperatingRange | None, curve: Curve, knee_reason: str) -> str:
    if operating is None:
        return f"No operating range: {_why_none(curve, knee_reason)}."
    speeds = numbers.tok_s(operating.low_tok_s)
    if operating.high > operating.low:
        speeds += f" to {numbers.tok_s(operating.high_tok_s)}"
    return (
        f"Concurrency {between(operating.low, operating.high)}: {speeds} tok/s with P95 under"
        f" {operating.ceiling_p95_s:g} s; it ends there because {operating.evidence}."
    )


def _why_none(curve: Curve, knee_reason: str) -> str:
    if curve.knee is None:
        return knee_reason
    if curve.ceiling_p95_s is None:
        return f"the knee is at {curve.knee}, but no P95 ceiling is claimed (--p95-ceiling)"
    at = next(point for point in curve.points if point.load == curve.knee)
    if at.latency_p95_s is None:
        return f"the requests at the knee ({curve.knee}) are too few for a P95"
    p95 = numbers.duration(at.latency_p95_s)
    return f"at the knee ({curve.knee}) P95 is {p95}, over the ceiling of {curve.ceiling_p95_s:g} s"
