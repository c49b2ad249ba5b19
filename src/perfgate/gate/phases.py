"""Prefill and decode, each against its own recorded runs: neither may hide what the other lost."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from perfgate.gate import wording
from perfgate.gate.metrics import DECODE_STEP, PREFILL, Metric
from perfgate.model import Cell, Finding, Measurement, Policy, Verdict

CHECK = "phases"


def phases(measurement: Measurement, cell: Cell, policy: Policy) -> tuple[Finding, ...]:
    """The phases of the mean request against the median of the accepted runs.

    A phase that no accepted run kept is told and not judged; one that only this run does not tell
    is INCONCLUSIVE, as what it would hide is unknown. A request of one token has no decode step.
    """
    margins = ((PREFILL, policy.prefill_margin), (DECODE_STEP, policy.decode_step_margin))
    judged = [
        _finding(metric, measurement, known, margin)
        for metric, margin in margins
        if (known := _known(metric, cell))
    ]
    return tuple(_with_shares(judged, measurement)) or (_nothing_known(measurement),)


def _known(metric: Metric, cell: Cell) -> list[float]:
    values = [getattr(sample, metric.name) for sample in cell.samples]
    return [value for value in values if value is not None]


def _finding(
    metric: Metric, measurement: Measurement, known: list[float], margin: float
) -> Finding:
    got, expected = metric.read(measurement), median(known)
    finding = Finding(
        check=CHECK,
        metric=metric.name,
        unit=metric.unit,
        expected=expected,
        got=got,
        margin=margin,
        verdict=Verdict.INCONCLUSIVE,
        message=f"{measurement.point.id}: the server's stamps do not tell {metric.title}, which "
        "the baseline has.",
        advice="Measure with a server that times its requests.",
    )
    if got is None:
        return finding
    gain = metric.gain(got, expected)
    text = wording.beside(metric, got, expected, "the baseline of")
    runs = f"median of {len(known)} run{'s' * (len(known) > 1)}"
    return replace(
        finding,
        verdict=_verdict(gain, margin),
        message=f"{measurement.point.id}: {text} ({runs}), margin {wording.percent(margin)}",
        advice="",
    )


def _verdict(gain: float, margin: float) -> Verdict:
    """A slower phase is a loss; a faster one alone is none of the gate's business."""
    return Verdict.REGRESSION if gain < -margin else Verdict.PASS


def _with_shares(judged: list[Finding], measurement: Measurement) -> list[Finding]:
    """Say of each loss what part it is of all that the phases lost."""
    weights = {
        PREFILL.name: 1.0,
        DECODE_STEP.name: measurement.attribution.decode_steps if measurement.attribution else 0.0,
    }
    grown = {
        one.metric: (one.got - one.expected) * weights[one.metric]
        for one in judged
        if one.got is not None and one.expected is not None
    }
    lost = sum(value for value in grown.values() if value > 0)
    return [
        replace(one, message=f"{one.message}{_share(grown.get(one.metric, 0.0), lost)}.")
        if one.verdict is not Verdict.INCONCLUSIVE
        else one
        for one in judged
    ]


def _share(grown: float, lost: float) -> str:
    return f"; {wording.percent(grown / lost)} of what the phases lost" if grown > 0 else ""


def _nothing_known(measurement: Measurement) -> Finding:
    return Finding(
        check=CHECK,
        verdict=Verdict.PASS,
        message=f"{measurement.point.id}: prefill and decode are not judged apart, for no recorded "
        "run kept them.",
        advice="To keep them: perfgate baseline record of this run.",
    )
