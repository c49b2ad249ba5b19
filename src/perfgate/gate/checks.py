"""One function per rule, each a measurement in and its findings out; no rule knows another.

A check that has nothing to hold the measurement against returns no finding.
"""

from __future__ import annotations

from statistics import median

from perfgate.gate import wording
from perfgate.gate.metrics import LATENCY_P95, THROUGHPUT, Metric
from perfgate.measure.distribution import P95_REQUESTS
from perfgate.measure.steady_validity import is_backlog
from perfgate.model import Cell, Claim, Finding, Measurement, Policy, Verdict, differing

Findings = tuple[Finding, ...]


def vetoes(measurement: Measurement) -> Findings:
    """INVALID for each reason why this measurement says nothing about speed.

    UNSTABLE alone if all that is wrong is a backlog.
    """
    waiting = is_backlog(measurement.vetoes)
    return tuple(
        Finding(
            check=f"veto {veto.rule}",
            verdict=Verdict.UNSTABLE if waiting else Verdict.INVALID,
            message=f"{measurement.point.id}: not judged, because {veto.message.rstrip('.')}.",
            advice="There is no steady state whose speed could be told."
            if waiting
            else "This says nothing about speed. Remove the cause and measure again.",
        )
        for veto in measurement.vetoes
    )


def known_cell(measurement: Measurement, cell: Cell | None) -> Findings:
    """INVALID when nothing is known to hold the point against: a missing cell is never a pass."""
    if cell is not None and (cell.samples or cell.floor_tok_s or cell.ceiling_p95_s):
        return ()
    what = "no baseline cell" if cell is None else "a baseline cell without any number"
    return (
        Finding(
            check="baseline",
            verdict=Verdict.INVALID,
            message=f"{measurement.point.id}: there is {what} to hold it against.",
            advice=f"If this run is sound, make one: {_record(measurement)}",
        ),
    )


def same_conditions(measurement: Measurement, cell: Cell | None) -> Findings:
    """INVALID when the baseline was recorded under other conditions, naming each that differs."""
    if cell is None or not cell.identity:
        return ()
    unlike = differing(measurement.fingerprint.identity, cell.identity)
    if not unlike:
        return ()
    return (
        Finding(
            check="identity",
            verdict=Verdict.INVALID,
            message=f"{measurement.point.id}: not comparable with its baseline: "
            + "; ".join(unlike)
            + ".",
            advice="Measure under the baseline's conditions, or, if these are the new ones, start "
            f"over: {_record(measurement)} --replace",
        ),
    )


def broken_claim(measurement: Measurement) -> Findings:
    """REGRESSION where a point without a cell misses what points.toml claims for this hardware.

    What meets its claim is not told: the missing cell stays what there is to say.
    """
    claim = _claim(measurement)
    if claim is None:
        return ()
    found = (*floor(measurement, claim), *ceiling(measurement, claim))
    return tuple(one for one in found if one.verdict is Verdict.REGRESSION)


def floor(measurement: Measurement, limits: Cell | Claim) -> Findings:
    """REGRESSION when throughput lies under the floor."""
    if limits.floor_tok_s is None:
        return ()
    got = measurement.throughput_tok_s
    return (_limit("floor", THROUGHPUT, measurement, got, limits.floor_tok_s),)


def ceiling(measurement: Measurement, limits: Cell | Claim) -> Findings:
    """REGRESSION when P95 latency lies over the ceiling."""
    p95 = measurement.latency_s.p95
    if limits.ceiling_p95_s is None or p95 is None:
        return ()
    return (_limit("ceiling", LATENCY_P95, measurement, p95, limits.ceiling_p95_s),)


def enough_requests(measurement: Measurement) -> Findings:
    """INCONCLUSIVE when too few requests were measured for a P95 of latency."""
    latency = measurement.latency_s
    if latency.p95 is not None:
        return ()
    return (
        Finding(
            check="requests",
            metric=LATENCY_P95.name,
            unit="requests",
            expected=float(P95_REQUESTS),
            got=float(latency.n),
            verdict=Verdict.INCONCLUSIVE,
            message=f"{measurement.point.id}: {latency.n} requests hold no P95 latency, "
            f"{P95_REQUESTS} are needed.",
            advice="Raise rounds or round_requests of the point in points.toml.",
        ),
    )


def stability(measurement: Measurement, policy: Policy) -> Findings:
    """UNSTABLE when P95 latency lies too far above the median: some requests wait."""
    latency = measurement.latency_s
    if latency.p95 is None or not measurement.point.workload.uniform:
        return ()  # requests that are not alike, or come when they like, differ by themselves
    spread, limit = latency.p95 / latency.p50, policy.max_p95_over_p50
    stable = spread <= limit
    side = "within" if stable else f"{wording.percent(spread / limit - 1)} over"
    return (
        Finding(
            check="stability",
            metric="p95_over_p50",
            expected=limit,
            got=spread,
            verdict=Verdict.PASS if stable else Verdict.UNSTABLE,
            message=f"{measurement.point.id}: P95/P50 of latency {spread:.3f} is {side} the limit "
            f"of {limit:g}.",
            advice="" if stable else f"Some requests wait. {_why(measurement)}",
        ),
    )


def baseline(measurement: Measurement, cell: Cell, policy: Policy) -> Findings:
    """Throughput and P95 latency against the median of the accepted runs."""
    if not cell.samples:
        return (_no_samples(measurement),)
    margins = ((THROUGHPUT, policy.throughput_margin), (LATENCY_P95, policy.latency_margin))
    return tuple(
        _against_samples(metric, measurement, got, cell, margin)
        for metric, margin in margins
        if (got := metric.read(measurement)) is not None
    )


def _limit(
    check: str, metric: Metric, measurement: Measurement, got: float, limit: float
) -> Finding:
    holds = metric.gain(got, limit) >= 0
    text = wording.beside(metric, got, limit, f"the {check} of")
    return Finding(
        check=check,
        metric=metric.name,
        unit=metric.unit,
        expected=limit,
        got=got,
        verdict=Verdict.PASS if holds else Verdict.REGRESSION,
        message=f"{measurement.point.id}: {text}.",
        advice="" if holds else f"{_why(measurement)} {_accept(measurement)}",
    )


def _claim(measurement: Measurement) -> Claim | None:
    return measurement.point.claim_on(measurement.fingerprint.hardware)


def _accept(measurement: Measurement) -> str:
    if _claim(measurement) is None:
        return f"If it is intended, start over: {_record(measurement)} --replace"
    return (
        "If it is intended, change the point's claim in points.toml, then: "
        f"{_record(measurement)} --replace"
    )


def _against_samples(
    metric: Metric, measurement: Measurement, got: float, cell: Cell, margin: float
) -> Finding:
    expected = median(getattr(sample, metric.name) for sample in cell.samples)
    verdict = _verdict(metric.gain(got, expected), margin)
    text = wording.beside(metric, got, expected, "the baseline of")
    runs = f"median of {len(cell.samples)} run{'s' * (len(cell.samples) > 1)}"
    return Finding(
        check="baseline",
        metric=metric.name,
        unit=metric.unit,
        expected=expected,
        got=got,
        margin=margin,
        verdict=verdict,
        message=f"{measurement.point.id}: {text} ({runs}), margin {wording.percent(margin)}.",
        advice=_after(verdict, measurement),
    )


def _verdict(gain: float, margin: float) -> Verdict:
    if gain < -margin:
        return Verdict.REGRESSION
    return Verdict.IMPROVEMENT if gain > margin else Verdict.PASS


def _after(verdict: Verdict, measurement: Measurement) -> str:
    if verdict is Verdict.REGRESSION:
        return (
            f"{_why(measurement)} If it is intended, start over: {_record(measurement)} --replace"
        )
    if verdict is Verdict.IMPROVEMENT:
        return f"If it lasts, hold it: {_record(measurement)} --replace"
    return ""


def _no_samples(measurement: Measurement) -> Finding:
    return Finding(
        check="baseline",
        verdict=Verdict.PASS,
        message=f"{measurement.point.id}: not compared with earlier runs, for none is recorded; "
        "floor and ceiling alone decide.",
        advice=f"To record this run: {_record(measurement)}",
    )


def _artifacts(measurement: Measurement) -> str:
    return measurement.records.rpartition("/records/")[0] or "artifacts"


def _record(measurement: Measurement) -> str:
    return f"perfgate baseline record {_artifacts(measurement)}"


def _why(measurement: Measurement) -> str:
    return f"To see why: perfgate report {_artifacts(measurement)}."
