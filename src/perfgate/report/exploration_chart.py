"""Throughput over P95 latency of all that a search tried: what it found, and the limit it met."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from perfgate.explore.findings import Exploration, Sweep
from perfgate.explore.trials import Outcome, Trial
from perfgate.report import numbers, svg
from perfgate.report.plots import NARROW, ON_WHITE, WIDE

_LEFT, _RIGHT, _BOTTOM = 52, 16, 46
_LINES = ("start", "measured", "static")
"""The sweeps' line styles, in their order: as it is, best, best with static batching."""


def exploration_svg(found: Exploration) -> str:
    """The chart as a file of its own, in colours that suit white paper."""
    css = files("perfgate.report").joinpath("templates/chart.css").read_text(encoding="utf-8")
    style = svg.element("style", Markup(f"svg{{{ON_WHITE};background:#fff}}{css}"))  # noqa: S704 - our own package data
    return exploration_chart(found, margin=20, style=style) + "\n"


def exploration_chart(
    found: Exploration, *, width: int = WIDE, margin: int = 0, style: str = ""
) -> Markup:
    """Every trial, the front, the sweeps, the ceiling, the limit and what was measured."""
    legend = _legend(found, width)
    top = round(legend[1]) + 14
    height = top + round(width * 0.42) + (80 if width <= NARROW else 0)
    x, y = _scales(found, (_LEFT, width - _RIGHT), (top, height))
    return svg.figure(
        f"exploration-{width}",
        title="Output token throughput over P95 request latency of the settings that were tried",
        description=described(found),
        size=(width, height + _BOTTOM),
        margin=margin,
        content=[
            style,
            legend[0],
            svg.y_axis(y, x),
            _x_axis(x, height),
            _limit(found, x, y),
            *_trials(found, x, y),
            *_sweeps(found.sweeps, x, y),
            _front(found, x, y),
            *_marks(found, x, y),
        ],
    )


def described(found: Exploration) -> str:
    """The chart in words."""
    best, start = found.best_outcome, found.start_outcome
    said = [f"{len(found.trials)} settings were tried."]
    if start:
        said.append(f"As it is: {_said(start)}.")
    if best:
        said.append(f"Best under the ceiling of {found.goal.ceiling_p95_s:g} s: {_said(best)}.")
    else:
        said.append(f"None holds the ceiling of {found.goal.ceiling_p95_s:g} s.")
    if found.limits:
        limit = numbers.tok_s(found.limits[0].throughput_tok_s)
        said.append(f"The limit under the ceiling is {limit} tok/s.")
    said += [
        f"Measured on the target: {_said(one.measured)}." for one in found.confirmed if one.measured
    ]
    return " ".join(said)


def _said(outcome: Outcome) -> str:
    return (
        f"{numbers.tok_s(outcome.throughput_tok_s)} tok/s,"
        f" P95 {numbers.duration(outcome.latency_p95_s)}"
    )


def _scales(
    found: Exploration, across: tuple[float, float], down: tuple[float, float]
) -> tuple[svg.Scale, svg.Scale]:
    """P95 up to twice the ceiling: what lies beyond is of no use to anybody."""
    reached = [one.outcome.throughput_tok_s for one in found.trials if one.outcome]
    highest = max([*reached, *(one.throughput_tok_s for one in found.limits[:1])], default=1.0)
    x = svg.Scale(0, found.goal.ceiling_p95_s * 1.6, *across)
    return x, svg.Scale(0, highest * 1.08, down[1], down[0])


def _x_axis(x: svg.Scale, bottom: float) -> Markup:
    ticks = x.ticks(8)
    step = ticks[1] - ticks[0]
    labels = [
        svg.text(x(tick), bottom + 18, svg.tick_label(tick, step), anchor="middle")
        for tick in ticks
    ]
    middle = (x.start_px + x.end_px) / 2
    return svg.group(
        [*labels, svg.text(middle, bottom + 38, "P95 request latency, s", anchor="middle")]
    )


def _limit(found: Exploration, x: svg.Scale, y: svg.Scale) -> Markup:
    at = x(found.goal.ceiling_p95_s)
    parts = [svg.line(at, y.start_px, at, y.end_px, "ceiling")]
    if found.limits:
        height = y(found.limits[0].throughput_tok_s)
        parts.append(svg.line(x.start_px, height, at, height, "roofline"))
    return svg.group(parts)


def _trials(found: Exploration, x: svg.Scale, y: svg.Scale) -> list[Markup]:
    placed = [
        svg.dot(x(one.outcome.latency_p95_s), y(one.outcome.throughput_tok_s), radius=2)
        for one in found.trials
        if one.outcome and _inside(one.outcome, x)
    ]
    return [svg.element("g", *placed, class_="request")] if placed else []


def _sweeps(sweeps: Sequence[Sweep], x: svg.Scale, y: svg.Scale) -> list[Markup]:
    drawn = []
    for sweep, class_ in zip(sweeps, _LINES, strict=False):
        rows = [
            (r.concurrency, r.outcome) for r in sweep.rows if r.outcome and _inside(r.outcome, x)
        ]
        line = [(x(o.latency_p95_s), y(o.throughput_tok_s)) for _, o in rows]
        tips = [f"{sweep.name}, concurrency {c}: {_said(o)}" for c, o in rows]
        dots = [
            svg.dot(*at, f"{class_}-dot", radius=3, tip=tip)
            for at, tip in zip(line, tips, strict=True)
        ]
        drawn.append(svg.group([svg.polyline(line, class_), *dots]))
    return drawn


def _front(found: Exploration, x: svg.Scale, y: svg.Scale) -> Markup:
    front = [found.trial(number) for number in found.front]
    return svg.polyline(
        [(x(o.latency_p95_s), y(o.throughput_tok_s)) for o in _outcomes(front) if _inside(o, x)],
        "front",
    )


def _marks(found: Exploration, x: svg.Scale, y: svg.Scale) -> list[Markup]:
    marks = []
    if best := found.best_outcome:
        marks.append(
            svg.diamond(
                x(best.latency_p95_s), y(best.throughput_tok_s), "best", tip=f"best: {_said(best)}"
            )
        )
    for one in found.confirmed:
        if one.measured and _inside(one.measured, x):
            at = (x(one.measured.latency_p95_s), y(one.measured.throughput_tok_s))
            class_ = "refused" if one.vetoes else "confirmed"
            marks.append(
                svg.dot(*at, class_, radius=6, tip=f"measured, {one.point}: {_said(one.measured)}")
            )
    return marks


def _legend(found: Exploration, width: int) -> tuple[Markup, float]:
    """The title and the line styles in as many rows as they take, and where the last one is."""
    entries = [("trial", "a trial"), ("front", "front of the trials")]
    entries += [(class_, sweep.name) for class_, sweep in zip(_LINES, found.sweeps, strict=False)]
    entries += [("ceiling", f"ceiling {numbers.duration(found.goal.ceiling_p95_s)}")]
    entries += [("roofline", "limit as fitted")] if found.limits else []
    entries += [("best", "best under the ceiling")] if found.best is not None else []
    measured = [one for one in found.confirmed if one.measured]
    entries += [("confirmed", "measured")] if any(not one.vetoes for one in measured) else []
    entries += [("refused", "measured, but vetoed")] if any(one.vetoes for one in measured) else []
    parts = [svg.text(0, 14, "Output token throughput, tok/s", class_="strong")]
    at, row = 0.0, 36.0
    for class_, name in entries:
        breadth = 44 + len(name) * svg.GLYPH_PX
        if at and at + breadth > width:
            at, row = 0.0, row + 19
        parts += [_sample(class_, at, row - 4), svg.text(at + 28, row, name)]
        at += breadth
    return svg.group(parts), row


def _sample(class_: str, x: float, y: float) -> Markup:
    if class_ == "trial":
        return svg.element("g", svg.dot(x + 11, y, radius=3), class_="request")
    if class_ == "best":
        return svg.diamond(x + 11, y, class_)
    if class_ in {"confirmed", "refused"}:
        return svg.dot(x + 11, y, class_, radius=6)
    return svg.line(x, y, x + 22, y, class_)


def _outcomes(trials: Sequence[Trial]) -> list[Outcome]:
    return [one.outcome for one in trials if one.outcome]


def _inside(outcome: Outcome, x: svg.Scale) -> bool:
    return outcome.latency_p95_s <= x.high
