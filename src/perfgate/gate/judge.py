"""The plain gate: floors, ceilings and stored runs, each with a stated margin.

It asks in this order: may the measurement be trusted, is there something comparable to hold it
against, and only then: is it fast enough. The first two end the matter, but for one thing: a point
without a cell that misses its own claim is slow, whatever else is to be said of it.
"""

from __future__ import annotations

from perfgate.gate import checks
from perfgate.gate.phases import phases
from perfgate.gate.verdicts import worst
from perfgate.model import Cell, Finding, Judgement, Measurement, Policy, Verdict


def judge(measurement: Measurement, cell: Cell | None, policy: Policy) -> Judgement:
    """The verdict on one operating point; `cell` is what the baseline knows of it."""
    refusals = _refusals(measurement, cell)
    broken = () if measurement.vetoes or cell is not None else checks.broken_claim(measurement)
    deciding = broken or refusals or _verdicts(measurement, cell, policy)
    return Judgement(
        point=measurement.point.id,
        verdict=worst(finding.verdict for finding in deciding),
        findings=(*broken, *refusals) if broken else deciding,
        records=measurement.records,
    )


def unmeasured(point: str, reason: str) -> Judgement:
    """The verdict on a point that should have been measured and was not: INVALID, never a pass."""
    finding = Finding(
        check="measured",
        verdict=Verdict.INVALID,
        message=f"{point}: not measured, because {reason.rstrip('.')}.",
        advice="This says nothing about speed. Remove the cause and run again.",
    )
    return Judgement(point=point, verdict=Verdict.INVALID, findings=(finding,))


def _refusals(measurement: Measurement, cell: Cell | None) -> checks.Findings:
    return checks.vetoes(measurement) or (
        *checks.known_cell(measurement, cell),
        *checks.same_conditions(measurement, cell),
    )


def _verdicts(measurement: Measurement, cell: Cell | None, policy: Policy) -> checks.Findings:
    if cell is None:  # a refusal has said so
        return ()
    return (
        *checks.floor(measurement, cell),
        *checks.ceiling(measurement, cell),
        *checks.enough_requests(measurement),
        *checks.stability(measurement, policy),
        *checks.baseline(measurement, cell, policy),
        *phases(measurement, cell, policy),
    )
