"""What a report says, before any form is chosen: one value and the sentences drawn from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from perfgate.errors import NoSamplesError, UsageError
from perfgate.model import Cell, Finding, Judgement, Measurement, RunInfo, Verdict

SEVERITY = (
    Verdict.REGRESSION,
    Verdict.INVALID,
    Verdict.UNSTABLE,
    Verdict.INCONCLUSIVE,
    Verdict.IMPROVEMENT,
    Verdict.PASS,
)
"""The verdicts, the one that needs a person most urgently first."""

NOT_JUDGED = "not judged"
COMPARED = "compared"
"""What stands for a verdict: COMPARED for a point that is measured only to be compared."""

NEXT_STEP: Mapping[Verdict | None, str] = MappingProxyType(
    {
        Verdict.REGRESSION: "Slower than agreed. Take the findings in turn; only if the loss is "
        "wanted, lower the baseline in a commit of its own.",
        Verdict.INVALID: "What is invalid says nothing about speed, good or bad. Remove the "
        "named cause and run again.",
        Verdict.UNSTABLE: "The server gives two different answers. Find out what changes between "
        "its runs before trusting either.",
        Verdict.INCONCLUSIVE: "Not a pass: there is too little data, or too much noise, for an "
        "answer. Run again with more rounds or on a quieter machine.",
        Verdict.IMPROVEMENT: "Faster than its baseline. Accept the new numbers, so that the gain "
        "is guarded from now on.",
        Verdict.PASS: "Nothing to do.",
        None: "No point was judged. Check that the selection of points is not empty.",
    }
)

SIMULATED_NOTE = (
    "Triton and the load client are real; TensorRT-LLM's scheduler and the GPU are models. "
    "Compare with simulated runs only."
)

_VERB: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.REGRESSION: "regressed",
        Verdict.INVALID: "could not be judged",
        Verdict.UNSTABLE: "unstable",
        Verdict.INCONCLUSIVE: "undecided",
        Verdict.IMPROVEMENT: "improved",
        Verdict.PASS: "pass",
    }
)


class CurvePoint(NamedTuple):
    """One concurrency of the curve; P95 is None where the sample cannot hold it."""

    concurrency: int
    throughput_tok_s: float
    latency_p95_s: float | None


class RooflinePoint(NamedTuple):
    """The most the hardware could deliver at one concurrency."""

    concurrency: int
    throughput_tok_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Throughput and latency of one engine over concurrency, in rising order of concurrency."""

    engine: str
    points: tuple[CurvePoint, ...]
    knee: int | None = None
    ceiling_p95_s: float | None = None
    roofline: tuple[RooflinePoint, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a curve of nothing, and one that runs back and forth."""
        if not self.points:
            msg = f"{self.engine}: a curve needs at least one measured concurrency"
            raise NoSamplesError(msg)
        order = [point.concurrency for point in self.points]
        if order != sorted(set(order)):
            raise UsageError("points", order, "their concurrencies must rise")

    def over_ceiling(self, point: CurvePoint) -> bool:
        """Whether the point's P95 is known and above the ceiling."""
        return (
            self.ceiling_p95_s is not None
            and point.latency_p95_s is not None
            and point.latency_p95_s > self.ceiling_p95_s
        )

    @property
    def operating_range(self) -> tuple[int, int] | None:
        """From the knee to the last concurrency before P95 exceeds the ceiling.

        None without a knee or a ceiling, or if the knee itself is over the ceiling.
        """
        if self.knee is None or self.ceiling_p95_s is None:
            return None
        last = None
        for point in self.points:
            if point.concurrency < self.knee:
                continue
            if point.latency_p95_s is None or self.over_ceiling(point):
                break
            last = point.concurrency
        return None if last is None else (self.knee, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one run has to say.

    `cells` are the expectations by point; a point without one falls back on its claim.
    `comparisons` are judgements between points (a ratio, an on/off pair), which are no row of
    the table. `latencies_s` holds, by point, the latency of each request of the steady window.
    """

    info: RunInfo
    measurements: tuple[Measurement, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    comparisons: tuple[Judgement, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    latencies_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    curve: Curve | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point of the run's table; what was not measured or not judged is None."""

    point: str
    measurement: Measurement | None
    judgement: Judgement | None
    floor_tok_s: float | None
    ceiling_p95_s: float | None

    @property
    def verdict(self) -> str:
        """The verdict's word, or why there is none."""
        if self.judgement is not None:
            return self.judgement.verdict.value
        gated = self.measurement is None or self.measurement.point.gated
        return NOT_JUDGED if gated else COMPARED

    @property
    def over_floor(self) -> float | None:
        """Throughput relative to its floor, as a signed share."""
        if self.measurement is None or not self.floor_tok_s:
            return None
        return self.measurement.throughput_tok_s / self.floor_tok_s - 1

    @property
    def over_ceiling(self) -> float | None:
        """P95 relative to its ceiling, as a signed share."""
        if self.p95_s is None or not self.ceiling_p95_s:
            return None
        return self.p95_s / self.ceiling_p95_s - 1

    @property
    def p95_s(self) -> float | None:
        """P95 of the request latency."""
        return None if self.measurement is None else self.measurement.latency_s.p95

    @property
    def p95_over_p50(self) -> float | None:
        """How flat the latency is: near 1 is steady."""
        if self.measurement is None or self.p95_s is None or not self.measurement.latency_s.p50:
            return None
        return self.p95_s / self.measurement.latency_s.p50


def rows(report: Report) -> tuple[Row, ...]:
    """The table's rows: each measured point in order, then each judged one nobody measured."""
    judged = {judgement.point: judgement for judgement in report.judgements}
    measured = {measurement.point.id: measurement for measurement in report.measurements}
    return tuple(
        _row(report, point, measured.get(point), judged.get(point))
        for point in dict.fromkeys([*measured, *judged])
    )


def _row(
    report: Report, point: str, measurement: Measurement | None, judgement: Judgement | None
) -> Row:
    claim = measurement.point.claim if measurement else None
    expected = report.cells.get(point) or claim
    return Row(
        point=point,
        measurement=measurement,
        judgement=judgement,
        floor_tok_s=expected.floor_tok_s if expected else None,
        ceiling_p95_s=expected.ceiling_p95_s if expected else None,
    )


def verdict(report: Report) -> Verdict | None:
    """The most urgent verdict of the run, or None if nothing was judged."""
    said = {judgement.verdict for judgement in (*report.judgements, *report.comparisons)}
    return next((verdict for verdict in SEVERITY if verdict in said), None)


def headline(report: Report) -> str:
    """The run in one sentence."""
    everything = (*report.judgements, *report.comparisons)
    counts = Counter(judgement.verdict for judgement in everything)
    match everything:
        case ():
            return "Nothing was judged."
        case (only,):
            return f"{only.point}: {_VERB[only.verdict]}."
    if set(counts) == {Verdict.PASS}:
        return f"All {_scope(report)} pass."
    parts = [f"{counts[each]} {_VERB[each]}" for each in SEVERITY if each in counts]
    return f"Of {_scope(report)}, {_enumerated(parts)}."


def troubles(report: Report) -> tuple[Judgement, ...]:
    """Every judgement that is no PASS, the most urgent first."""
    found = [
        judgement
        for judgement in (*report.judgements, *report.comparisons)
        if judgement.verdict is not Verdict.PASS
    ]
    return tuple(sorted(found, key=lambda judgement: SEVERITY.index(judgement.verdict)))


def telling(judgement: Judgement) -> tuple[Finding, ...]:
    """The findings that explain the verdict: those that are no PASS, or all if none is."""
    found = tuple(f for f in judgement.findings if f.verdict is not Verdict.PASS)
    return found or judgement.findings


def said(judgement: Judgement, finding: Finding) -> str:
    """The finding's message without the point's name that its heading already shows."""
    return finding.message.removeprefix(f"{judgement.point}: ")


def hardware_label(info: RunInfo) -> str:
    """The hardware's name, with SIMULATED before it where no GPU computed."""
    if not info.simulated:
        return info.hardware
    return f"SIMULATED {info.hardware.removesuffix('-sim')}"


def _scope(report: Report) -> str:
    counted = ((len(report.judgements), "point"), (len(report.comparisons), "comparison"))
    return " and ".join(
        f"{count} {noun}" if count == 1 else f"{count} {noun}s" for count, noun in counted if count
    )


def _enumerated(parts: list[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
