"""What a report holds, before any form is chosen: one value, and the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from perfgate.errors import NoSamplesError, UsageError
from perfgate.measure.bands import Band
from perfgate.model import Cell, Judgement, Measurement, RunInfo

NOT_JUDGED = "not judged"
COMPARED = "compared"
"""What stands for a verdict: COMPARED for a point that is measured only to be compared."""


class Axis(StrEnum):
    """What a curve runs over, as a number of it is named."""

    CONCURRENCY = "concurrency"
    RATE = "requests/s"


class CurvePoint(NamedTuple):
    """One load of the curve; P95 is None where the sample cannot hold it.

    `load` counts along the curve's axis. Bands surround both numbers where it is known how far they
    may be off.
    """

    load: float
    throughput_tok_s: float
    latency_p95_s: float | None
    throughput_band: Band | None = None
    p95_band: Band | None = None


class RooflinePoint(NamedTuple):
    """The most the hardware could deliver at one concurrency."""

    load: float
    throughput_tok_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Throughput and latency of one engine over its load, in rising order of it."""

    engine: str
    points: tuple[CurvePoint, ...]
    axis: Axis = Axis.CONCURRENCY
    knee: int | None = None
    ceiling_p95_s: float | None = None
    roofline: tuple[RooflinePoint, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a curve of nothing, and one that runs back and forth."""
        if not self.points:
            msg = f"{self.engine}: a curve needs at least one measured load"
            raise NoSamplesError(msg)
        order = [point.load for point in self.points]
        if order != sorted(set(order)):
            raise UsageError("points", order, "their loads must rise")

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
            if point.load < self.knee:
                continue
            if point.latency_p95_s is None or self.over_ceiling(point):
                break
            last = int(point.load)
        return None if last is None else (self.knee, last)


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without a token, between two of them; seconds since the request was due."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One request: where it stands among the others by latency, and when its tokens came.

    `arrivals_s` are seconds since it was due, thinned to what can be drawn; first and last token
    and both ends of the longest gap are always among them.
    """

    index: int
    rank: str
    tokens: int
    latency_s: float
    arrivals_s: tuple[float, ...]
    gap: Gap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """What an earlier run measured, under the name its reader knows it by."""

    name: str
    info: RunInfo
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one run has to say.

    `cells` are the expectations by point; a point without one falls back on its claim.
    `comparisons` are judgements between points (a ratio, an on/off pair), which are no row of
    the table. `latencies_s` holds, by point, the latency of each request of the steady window,
    `timelines` some of these requests token by token. `earlier` are runs to compare with, the
    oldest first.
    """

    info: RunInfo
    measurements: tuple[Measurement, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    comparisons: tuple[Judgement, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    latencies_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    timelines: Mapping[str, tuple[Timeline, ...]] = field(default_factory=dict)
    earlier: tuple[EarlierRun, ...] = ()
    curve: Curve | None = None


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
