"""The curve: throughput and P95 latency over the load, drawn as SVG.

Type keeps its size at every width: a page shows the wide drawing or the narrow one, instead of
shrinking one until nobody can read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from perfgate.measure.bands import Band
from perfgate.report import numbers, svg
from perfgate.report.content import Axis, Curve, CurvePoint
from perfgate.report.sentences import between, described

WIDE, NARROW = 880, 350
_LEFT, _RIGHT = 46, 44
_AXES = {
    Axis.CONCURRENCY: "Concurrency (requests in flight)",
    Axis.RATE: "Requests offered a second (open loop)",
}
_STRIP = 40  # above a panel: the bracket of the operating range and the knee's name
ON_WHITE = (
    "--paper:#fff;--ink:#1b1f24;--ink-soft:#57606a;--hairline:#e6e8eb;--axis:#8c959f;"
    "--range:#eaf3ec;--range-ink:#2f7d4f;--blue:#0067a8;--orange:#c2410c;--amber:#d99100;--purple:#7a3ea8"
)


def curve_svg(curve: Curve) -> str:
    """The curve as a file of its own, in colours that suit white paper."""
    css = files("perfgate.report").joinpath("templates/chart.css").read_text(encoding="utf-8")
    style = svg.element("style", Markup(f"svg{{{ON_WHITE};background:#fff}}{css}"))  # noqa: S704 - our own package data
    return _drawn(curve, WIDE, margin=20, style=style) + "\n"


def curve_chart(curve: Curve, *, width: int = WIDE) -> Markup:
    """The curve for a page that brings its own colours (`chart.css` and its variables).

    Shows the knee, the operating range, the P95 ceiling and the roofline where they are known.
    """
    return _drawn(curve, width)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things stand: the shared axis of the load and each panel's upper and lower edge."""

    width: int
    x: svg.Scale
    upper: tuple[int, int]
    lower: tuple[int, int]


def _frame(curve: Curve, width: int) -> _Frame:
    top = _STRIP + (44 if width > NARROW else 60)
    middle = top + round(width * 0.26) + 60
    lower = middle + 62
    last = curve.points[-1].load
    return _Frame(
        width=width,
        x=svg.Scale(0, last * 1.02, _LEFT, width - _RIGHT),
        upper=(top, middle),
        lower=(lower, lower + round(width * 0.10) + 70),
    )


def _drawn(curve: Curve, width: int, *, margin: int = 0, style: str = "") -> Markup:
    frame = _frame(curve, width)
    return svg.figure(
        f"curve-{curve.engine}-{width}",
        title=f"Throughput and latency over {curve.axis}, engine {curve.engine}",
        description=described(curve),
        size=(width, frame.lower[1] + 44),
        margin=margin,
        content=[
            style,
            _operating_range(curve, frame),
            _throughput_panel(curve, frame),
            _latency_panel(curve, frame),
            _load_axis(curve, frame),
            _knee(curve, frame),
        ],
    )


def _throughput_panel(curve: Curve, frame: _Frame) -> Markup:
    x, y = frame.x, svg.Scale(0, _throughput_top(curve), *reversed(frame.upper))
    measured = [(x(p.load), y(p.throughput_tok_s)) for p in curve.points]
    bound = [(x(p.load), y(p.throughput_tok_s)) for p in curve.roofline]
    legend = [("measured", "measured")]
    if any(point.throughput_band for point in curve.points):
        legend.append(("band", "95 % band"))
    if bound:
        legend.append(("roofline", "roofline (memory bandwidth)"))
    values = [numbers.significant(p.throughput_tok_s) for p in curve.points]
    dots = zip(measured, curve.points, strict=True)
    return svg.group(
        [
            _legend("Output token throughput, tok/s", legend, 14, frame.width),
            svg.y_axis(y, x),
            _clipped(svg.polyline(bound, "roofline"), frame, curve.engine) if bound else "",
            *(_whisker(x, y, p.load, p.throughput_band) for p in curve.points),
            svg.polyline(measured, "measured"),
            *(svg.dot(*at, "measured-dot", tip=_tip(point, curve.axis)) for at, point in dots),
            _values([(*at, v) for at, v in zip(measured, values, strict=True)], frame.upper[1]),
        ]
    )


def _latency_panel(curve: Curve, frame: _Frame) -> Markup:
    known = [(p, p.latency_p95_s) for p in curve.points if p.latency_p95_s is not None]
    banded = [p.p95_band.high for p, _ in known if p.p95_band]
    highest = max([seconds for _, seconds in known] + banded + [curve.ceiling_p95_s or 0.0])
    x, y = frame.x, svg.Scale(0, highest * 1.25 or 1.0, *reversed(frame.lower))
    placed = [(x(p.load), y(seconds), p, seconds) for p, seconds in known]
    # Below a point over the ceiling the ceiling's own line passes: its value stands above it.
    values = [(px, py - 26 * curve.over_ceiling(p), f"{s:.2f}") for px, py, p, s in placed]
    return svg.group(
        [
            _legend("Request latency P95, s", _latency_legend(curve), y.end_px - 30, frame.width),
            svg.y_axis(y, x),
            _ceiling(curve, x, y),
            *(_whisker(x, y, p.load, p.p95_band) for p, _ in known),
            svg.polyline([(px, py) for px, py, _, _ in placed], "measured"),
            *(_latency_dot(curve, px, py, p) for px, py, p, _ in placed),
            _values(values, frame.lower[1]) if known else _no_p95(frame),
        ]
    )


def _whisker(x: svg.Scale, y: svg.Scale, load: float, band: Band | None) -> Markup:
    """A band as a bar across its point, wide enough to be seen beside the dot."""
    if band is None:
        return Markup("")
    at, low, high = x(load), y(max(band.low, 0.0)), y(band.high)
    ends = (svg.line(at - 5, edge, at + 5, edge, "band") for edge in (low, high))
    return svg.group([svg.line(at, low, at, high, "band"), *ends])


def _no_p95(frame: _Frame) -> Markup:
    middle = (frame.lower[0] + frame.lower[1]) / 2
    return svg.text(frame.x.start_px + 8, middle, "too few requests for a P95", class_="value")


def _latency_legend(curve: Curve) -> list[tuple[str, str]]:
    legend = [("measured", "measured")]
    if curve.ceiling_p95_s is not None:
        legend.append(("ceiling", f"ceiling {numbers.duration(curve.ceiling_p95_s)}"))
    if any(map(curve.over_ceiling, curve.points)):
        legend.append(("over", "over it"))
    return legend


def _ceiling(curve: Curve, x: svg.Scale, y: svg.Scale) -> Markup:
    if curve.ceiling_p95_s is None:
        return Markup("")
    at = y(curve.ceiling_p95_s)
    return svg.line(x.start_px, at, x.end_px, at, "ceiling")


def _latency_dot(curve: Curve, x: float, y: float, point: CurvePoint) -> Markup:
    if curve.over_ceiling(point):
        return svg.diamond(x, y, "over", tip=f"{_tip(point, curve.axis)}, over the ceiling")
    return svg.dot(x, y, "measured-dot", tip=_tip(point, curve.axis))


def _tip(point: CurvePoint, axis: Axis) -> str:
    p95 = numbers.duration_or_words(point.latency_p95_s, "unknown")
    return f"{axis} {point.load:g}: {numbers.tok_s(point.throughput_tok_s)} tok/s, P95 {p95}"


def _throughput_top(curve: Curve) -> float:
    measured = max(
        point.throughput_band.high if point.throughput_band else point.throughput_tok_s
        for point in curve.points
    )
    bound = max((point.throughput_tok_s for point in curve.roofline), default=0.0)
    # A bound far above would flatten the measured line: then it leaves through the top.
    return max(measured * 1.08, min(bound * 1.04, measured * 1.6))


def _load_axis(curve: Curve, frame: _Frame) -> Markup:
    """Name the measured loads, the largest first, as long as there is room."""
    x, bottom = frame.x, frame.lower[1]
    labels, free_until = [], float("inf")
    for point in reversed(curve.points):
        name, at = f"{point.load:g}", x(point.load)
        half = len(name) * svg.GLYPH_PX / 2
        if at + half < free_until:
            labels += [
                svg.text(at, bottom + 18, name, anchor="middle"),
                svg.line(at, bottom, at, bottom + 5, "axis"),
            ]
            free_until = at - half - 6
    middle = (x.start_px + x.end_px) / 2
    title = svg.text(middle, bottom + 37, _AXES[curve.axis], anchor="middle")
    return svg.group([*labels, title])


def _values(placed: list[tuple[float, float, str]], bottom: float) -> Markup:
    """Write values right below their points, the last first, leaving out what has no room."""
    drawn, free_until = [], float("inf")
    for x, y, value in sorted(placed, reverse=True):
        end = x + 5 + len(value) * svg.GLYPH_PX
        if end < free_until and y + 17 < bottom:
            drawn.append(svg.text(x + 5, y + 17, value, class_="value"))
            free_until = x
    return svg.group(drawn)


def _operating_range(curve: Curve, frame: _Frame) -> Markup:
    if curve.operating_range is None:
        return Markup("")
    first, last = curve.operating_range
    low, high = frame.x(first) - 3, frame.x(last) + 3
    label = f"operating range {between(first, last)}"
    half = len(label) * svg.GLYPH_PX / 2
    at = min(max((low + high) / 2, _LEFT + half), frame.width - half)
    edge = frame.upper[0] - _STRIP + 18
    return svg.group(
        [
            svg.bar(low, high, edge, frame.upper[1] - edge, "range"),
            svg.bar(low, high, frame.lower[0], frame.lower[1] - frame.lower[0], "range"),
            svg.line(low, edge, high, edge, "range-edge"),
            svg.text(at, edge - 7, label, anchor="middle"),
        ]
    )


def _knee(curve: Curve, frame: _Frame) -> Markup:
    if curve.knee is None:
        return Markup("")
    at, top = frame.x(curve.knee), frame.upper[0] - _STRIP + 18
    return svg.group(
        [
            svg.line(at, top, at, frame.upper[1], "knee"),
            svg.line(at, frame.lower[0], at, frame.lower[1], "knee"),
            svg.text(at - 6, top + 14, f"knee {curve.knee}", class_="value", anchor="end"),
        ]
    )


def _legend(title: str, entries: Iterable[tuple[str, str]], y: float, width: int) -> Markup:
    """The panel's title, then its line styles beside it, or in rows below it on a narrow page."""
    at, row = (len(title) * svg.GLYPH_PX + 34, y) if width > NARROW else (0.0, y + 19)
    parts = [svg.text(0, y, title, class_="strong")]
    for class_, name in entries:
        if at and at + 28 + len(name) * svg.GLYPH_PX > width:
            at, row = 0.0, row + 17
        parts += [_sample(class_, at, row - 4), svg.text(at + 28, row, name)]
        at += 44 + len(name) * svg.GLYPH_PX
    return svg.group(parts)


def _sample(class_: str, x: float, y: float) -> Markup:
    if class_ == "over":
        return svg.diamond(x + 11, y, class_)
    return svg.line(x, y, x + 22, y, class_)


def _clipped(content: Markup, frame: _Frame, engine: str) -> Markup:
    top, bottom = frame.upper
    key = f"curve-{engine}-{frame.width}-panel"
    window = svg.bar(frame.x.start_px, frame.x.end_px, top, bottom - top)
    clip = svg.element("clipPath", window, id=key)
    return svg.group([clip, svg.element("g", content, clip_path=f"url(#{key})")])
