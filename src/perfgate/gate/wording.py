"""How findings are put into words: what happened, expected and got, what to do next."""

from __future__ import annotations

from perfgate.gate.metrics import Metric
from perfgate.model import Finding, Judgement, Verdict

_MILLI = 0.1  # seconds below this are read more easily in milliseconds
_SMALLEST_PERCENT = 0.05


def amount(value: float, unit: str) -> str:
    """A number with its unit, short enough to read: `2871.4 tok/s`, `6.931 s`, `53.31 ms`."""
    if unit == "s":
        return f"{value * 1e3:.4g} ms" if abs(value) < _MILLI else f"{value:.4g} s"
    return f"{value:.5g} {unit}".rstrip()


def percent(fraction: float) -> str:
    """A fraction as an unsigned percentage with one decimal; a tiny one is never shown as zero."""
    share = abs(fraction) * 100
    if 0 < share < _SMALLEST_PERCENT:
        return "less than 0.1 %"
    return f"{share:.1f} %"


def beside(metric: Metric, got: float, expected: float, reference: str) -> str:
    """A number beside its reference: `throughput 2871 tok/s is 4.3 % under the floor of ...`."""
    change = got / expected - 1
    where = f"{percent(change)} {'over' if change > 0 else 'under'}" if change else "exactly"
    return (
        f"{metric.title} {amount(got, metric.unit)} is {where} {reference}"
        f" {amount(expected, metric.unit)}"
    )


def explain(judgement: Judgement) -> str:
    """All that a reader of a failed job needs: verdict, each finding that led to it, next step."""
    told = [finding for finding in judgement.findings if finding.verdict is not Verdict.PASS]
    lines = [f"{judgement.verdict} {judgement.point}"]
    for finding in told or judgement.findings:
        lines += _lines(finding)
    if judgement.records:
        lines.append(f"  Records: {judgement.records}")
    return "\n".join(lines)


def _lines(finding: Finding) -> list[str]:
    advice = [f"    {finding.advice}"] if finding.advice else []
    return [f"  {finding.verdict}: {finding.message}", *advice]
