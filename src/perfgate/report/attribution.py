"""Where the mean request's time went: a bar and a line of numbers a point."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from perfgate.model import Attribution, Measurement, Phase
from perfgate.report import numbers, svg
from perfgate.report.plots import WIDE
from perfgate.report.strips import BAND, Strip, strip_chart

COLUMNS = (
    *("point", "latency", "client", "way in", "queue", "prefill", "decode", "step"),
    *("postprocessing", "way back"),
)

# What lies outside the engine is one shade; which side of it, the bar's order tells.
_CLASS = {Phase.QUEUE: "queue", Phase.PREFILL: "prefill", Phase.DECODE: "decode"}
_OUTSIDE = "outside"


def attributed(measurements: Sequence[Measurement]) -> list[tuple[str, Attribution]]:
    """The points that have something to tell, or a reason why not."""
    return [
        (measurement.point.id, measurement.attribution)
        for measurement in measurements
        if measurement.attribution is not None
    ]


def attribution_chart(measurements: Sequence[Measurement], *, width: int = WIDE) -> Markup:
    """The phases' parts of the mean latency, from left to right as a request passes them."""
    told = [(name, one) for name, one in attributed(measurements) if one.phases_s]
    return strip_chart(
        "attribution",
        title="Where the mean request's time went, by point",
        legend=(
            (_OUTSIDE, "outside"),
            ("queue", "queue"),
            ("prefill", "prefill"),
            ("decode", "decode"),
        ),
        axis="Part of the mean request latency, %",
        domain=(0.0, 100.0),
        strips=[_strip(name, one) for name, one in told],
        width=width,
    )


def attribution_table(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Every phase in its own unit; what cannot be told is a dash, and a note says why."""
    return [(name, *_numbers(one)) for name, one in attributed(measurements)]


def attribution_notes(measurements: Sequence[Measurement]) -> list[str]:
    """What cannot be told, each with the points that it is true of."""
    by_note: dict[str, list[str]] = {}
    for name, one in attributed(measurements):
        if one.note:
            by_note.setdefault(one.note, []).append(name)
    return [f"{note} ({', '.join(names)})" for note, names in by_note.items()]


def _numbers(one: Attribution) -> tuple[str, ...]:
    def told(*phases: Phase) -> str:
        known = [one.phases_s[phase] for phase in phases if phase in one.phases_s]
        return numbers.duration(sum(known)) if known else "-"

    decode_s = one.phases_s.get(Phase.DECODE)
    step = decode_s / one.decode_steps if decode_s is not None and one.decode_steps else None
    return (
        numbers.duration(one.latency_s),
        told(Phase.CLIENT),
        told(Phase.WAY_IN),
        told(Phase.QUEUE),
        told(Phase.PREFILL),
        told(Phase.DECODE),
        numbers.duration_or_words(step, "-"),
        told(Phase.POSTPROCESSING),
        told(Phase.WAY_BACK, Phase.NETWORK),
    )


def _strip(name: str, one: Attribution) -> Strip:
    total = sum(one.phases_s.values())
    shares = {phase: seconds / total * 100 for phase, seconds in one.phases_s.items()}

    def draw(x: svg.Scale, top: float) -> Markup:
        bars, at = [], 0.0
        for phase, share in shares.items():
            tip = f"{phase.value} {numbers.duration(one.phases_s[phase])}"
            class_ = _CLASS.get(phase, _OUTSIDE)
            bars.append(svg.bar(x(at), x(at + share), top + 3, BAND - 6, class_, tip=tip))
            at += share
        return svg.group(bars)

    engine = sum(share for phase, share in shares.items() if phase in _CLASS)
    return Strip(name, f"engine {engine:.1f} %, outside {100 - engine:.1f} %", draw)
