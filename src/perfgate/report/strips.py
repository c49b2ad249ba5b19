"""A chart with one strip a point over one axis: the frame that the points' charts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from perfgate.report import svg
from perfgate.report.plots import NARROW

BAND = 20
"""Height of a strip's band in pixels."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A point's line: its name, its numbers, and how its marks are drawn from the upper edge."""

    name: str
    summary: str
    draw: Callable[[svg.Scale, float], Markup]


def strip_chart(
    key: str,
    *,
    title: str,
    legend: Sequence[tuple[str, str]],
    axis: str,
    domain: tuple[float, float],
    strips: Sequence[Strip],
    width: int,
) -> Markup:
    """All strips below one another, the axis at the foot; nothing at all without strips."""
    if not strips:
        return Markup("")
    left, right, pitch, above = (150, 210, 32, 0) if width > NARROW else (4, 12, 52, 20)
    first = 34
    bottom = first + pitch * len(strips)
    x = svg.Scale(*domain, left, width - right)
    return svg.figure(
        f"{key}-{width}",
        title=title,
        description="; ".join(f"{strip.name}: {strip.summary}" for strip in strips),
        size=(width, bottom + 40),
        content=[
            _legend(legend),
            _axis(x, axis, (first - 4, bottom)),
            *(
                svg.group([_caption(strip, top, width), strip.draw(x, top + above)])
                for top, strip in zip(range(first + 4, bottom + 4, pitch), strips, strict=True)
            ),
        ],
    )


def _caption(strip: Strip, top: float, width: int) -> Markup:
    """The name on the left and the numbers on the right: beside the band, or above it."""
    baseline = top + (BAND / 2 + 4 if width > NARROW else 9)
    room = int((142 if width > NARROW else width - 8 - len(strip.summary) * 6.5) / svg.GLYPH_PX)
    name = strip.name if len(strip.name) <= room else f"{strip.name[: max(room - 1, 1)]}…"
    return svg.group(
        [
            svg.text(0, baseline, name, class_="strong"),
            svg.text(width, baseline, strip.summary, anchor="end"),
        ]
    )


def _axis(x: svg.Scale, title: str, extent: tuple[float, float]) -> Markup:
    top, bottom = extent
    ticks = x.ticks(6)
    step = svg.round_step((x.high - x.low) / 6)
    lines = (svg.line(x(tick), top, x(tick), bottom, "grid") for tick in ticks)
    labels = (
        svg.text(x(tick), bottom + 15, svg.tick_label(tick, step), anchor="middle")
        for tick in ticks
    )
    name = svg.text((x.start_px + x.end_px) / 2, bottom + 34, title, anchor="middle")
    return svg.group([*lines, *labels, name])


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    parts, at = [], 0.0
    for class_, name in entries:
        parts += [_sample(class_, at), svg.text(at + 20, 14, name)]
        at += 36 + len(name) * svg.GLYPH_PX
    return svg.group(parts)


def _sample(class_: str, x: float) -> Markup:
    if class_ in {"outside", "queue", "prefill", "decode"}:
        return svg.bar(x, x + 14, 4, 11, class_)
    if class_ in {"request", "round-dot"}:
        return svg.dot(x + 8, 10, class_, radius=3)
    return svg.line(x + 8, 2, x + 8, 18, class_)
