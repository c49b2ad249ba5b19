"""The little of SVG that the charts need: elements, a linear scale with round ticks, a figure.

Text stays text and every colour is a class, so that a chart follows the page it stands in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

GLYPH_PX = 7.0
"""Width of an average glyph of the charts' 12 px type, on the generous side."""


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """One element; text and attribute values are escaped unless they are Markup already.

    `class_` becomes class, `_` becomes `-`; an attribute that is None is left out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup("<{0}{1}/>").format(tag, written)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, group(children))


def group(children: Iterable[str]) -> Markup:
    """Several elements in a row; plain strings among them are escaped."""
    return Markup("").join(children)


def text(x: float, y: float, content: str, *, class_: str = "", anchor: str = "start") -> Markup:
    """A line of text with its baseline at `y`."""
    return element("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through all points, never filled."""
    return element("polyline", points=_path(points), class_=class_)


def dot(
    x: float, y: float, class_: str | None = None, *, radius: float = 4, tip: str = ""
) -> Markup:
    """A point, with a tooltip where `tip` is given."""
    return element("circle", *_tip(tip), cx=x, cy=y, r=radius, class_=class_)


def diamond(x: float, y: float, class_: str, *, radius: float = 6, tip: str = "") -> Markup:
    """A point of another shape, so that colour is not all that tells it apart."""
    corners = ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))
    return element("polygon", *_tip(tip), points=_path(corners), class_=class_)


def bar(
    x1: float, x2: float, y: float, height: float, class_: str | None = None, *, tip: str = ""
) -> Markup:
    """A horizontal bar from `x1` to `x2`, `y` being its upper edge."""
    width = max(x2 - x1, 0)
    return element("rect", *_tip(tip), x=x1, y=y, width=width, height=height, class_=class_)


def figure(
    key: str,
    *,
    title: str,
    description: str,
    size: tuple[int, int],
    margin: int = 0,
    content: Iterable[str],
) -> Markup:
    """A whole chart that a screen reader announces by title and description."""
    width, height = (side + 2 * margin for side in size)
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", description, id=f"{key}-desc"),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"{-margin} {-margin} {width} {height}",
        width=width,
        height=height,
        class_="chart",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        """Where `value` is drawn."""
        part = (value - self.low) / (self.high - self.low)
        return self.start_px + part * (self.end_px - self.start_px)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values inside the domain."""
        step = round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def y_axis(y: Scale, x: Scale) -> Markup:
    """Round values of `y` with a hairline each, over the breadth of `x`."""
    ticks = y.ticks(5)
    step = ticks[1] - ticks[0]
    return group(
        part
        for tick in ticks
        for part in (
            line(x.start_px, y(tick), x.end_px, y(tick), "grid" if tick else "axis"),
            text(x.start_px - 8, y(tick) + 4, tick_label(tick, step), anchor="end"),
        )
    )


def round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def tick_label(value: float, step: float) -> str:
    """A tick's number with as many decimals as its step has."""
    return f"{value:.{max(-math.floor(math.log10(step) + 1e-9), 0)}f}"


def _tip(tip: str) -> tuple[Markup, ...]:
    return (element("title", tip),) if tip else ()


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_plain(x)},{_plain(y)}" for x, y in points)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
