"""This run beside earlier ones: each point's numbers run by run, and what changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from perfgate.measure.explain import Explanation, explain_change
from perfgate.model import Measurement
from perfgate.report import numbers, svg
from perfgate.report.content import EarlierRun
from perfgate.report.explanation import causes, headline
from perfgate.report.plots import WIDE
from perfgate.report.strips import BAND, Strip, strip_chart

COLUMNS = ("point", "run", "tok/s", "this run", "P95", "this run")
_LEAST_PERCENT = 5.0  # mere noise shall look like noise


@dataclass(frozen=True, slots=True)
class Told:
    """What changed at one point since the last run that measured it."""

    headline: str
    causes: tuple[str, ...]


def changes(runs: Sequence[EarlierRun], now: Sequence[Measurement]) -> list[Told]:
    """An explanation of each point that changed since the latest earlier run that has it."""
    return [
        Told(headline(one), causes(one)) for one in _explanations(runs, now) if not one.unchanged
    ]


def unchanged(runs: Sequence[EarlierRun], now: Sequence[Measurement]) -> list[str]:
    """The points whose latency is what it was."""
    return [one.after.point.id for one in _explanations(runs, now) if one.unchanged]


def table(runs: Sequence[EarlierRun], now: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """One line a point and earlier run, oldest first: its numbers, and this run's against them."""
    return [
        (
            measurement.point.id,
            run.name,
            numbers.tok_s(before.throughput_tok_s),
            numbers.change(measurement.throughput_tok_s / before.throughput_tok_s - 1),
            numbers.duration_or_words(before.latency_s.p95),
            _relative(measurement.latency_s.p95, before.latency_s.p95),
        )
        for measurement in now
        for run, before in _history(runs, measurement)
    ]


def history_chart(
    runs: Sequence[EarlierRun], now: Sequence[Measurement], *, width: int = WIDE
) -> Markup:
    """Throughput of each run over this run's, the oldest on top, this run below at 0."""
    lines = [
        (one, [*(before for _, before in _history(runs, one)), one])
        for one in now
        if _history(runs, one)
    ]
    reach = max(
        [_LEAST_PERCENT] + [abs(_percent(one, now_)) * 1.1 for now_, them in lines for one in them]
    )
    return strip_chart(
        "history",
        title="Throughput of earlier runs against this run, by point",
        legend=(("round-dot", "a run, the oldest on top"), ("limit", "this run")),
        axis="Throughput against this run, %",
        domain=(-reach, reach),
        strips=[_strip(one, them) for one, them in lines],
        width=width,
    )


def _explanations(runs: Sequence[EarlierRun], now: Sequence[Measurement]) -> list[Explanation]:
    histories = ((one, _history(runs, one)) for one in now)
    return [explain_change(before[-1][1], one) for one, before in histories if before]


def _history(
    runs: Sequence[EarlierRun], measurement: Measurement
) -> list[tuple[EarlierRun, Measurement]]:
    return [
        (run, one)
        for run in runs
        for one in run.measurements
        if one.point.id == measurement.point.id
    ]


def _percent(one: Measurement, now: Measurement) -> float:
    return (one.throughput_tok_s / now.throughput_tok_s - 1) * 100


def _relative(now: float | None, before: float | None) -> str:
    return "-" if now is None or not before else numbers.change(now / before - 1)


def _strip(now: Measurement, them: Sequence[Measurement]) -> Strip:
    pitch = BAND / (len(them) - 1)

    def draw(x: svg.Scale, top: float) -> Markup:
        placed = [(x(_percent(one, now)), top + i * pitch) for i, one in enumerate(them)]
        dots = (
            svg.dot(
                *at, "round-dot", radius=2.5, tip=f"{numbers.tok_s(one.throughput_tok_s)} tok/s"
            )
            for at, one in zip(placed, them, strict=True)
        )
        mark = svg.line(x(0), top - 2, x(0), top + BAND + 2, "limit")
        return svg.group([mark, svg.polyline(placed, "round"), *dots])

    before = them[-2].throughput_tok_s
    return Strip(now.point.id, f"{numbers.change(now.throughput_tok_s / before - 1)}", draw)
