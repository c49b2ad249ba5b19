"""One strip a point, one axis for all: request latencies, phases of a request, rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from perfgate.model import Measurement
from perfgate.report import numbers, svg
from perfgate.report.content import Row
from perfgate.report.plots import NARROW, WIDE

_BAND = 20
_MOST_DOTS = 300
_STEADY_PERCENT = 5.0  # the axis spans at least this much, so that mere noise looks like noise
_GOLDEN = 0.618034  # its multiples spread evenly: a jitter that is the same in every drawing


@dataclass(frozen=True, slots=True)
class Strip:
    """A point's line: its name, its numbers, and how its marks are drawn from the upper edge."""

    name: str
    summary: str
    draw: Callable[[svg.Scale, float], Markup]


def latency_chart(
    rows: Sequence[Row], latencies_s: Mapping[str, tuple[float, ...]], *, width: int = WIDE
) -> Markup:
    """Every request's latency by point, with P50, P95 and the ceiling; empty without points.

    A point of many requests is drawn by evenly spaced order statistics, which keep its shape.
    """
    measured = [row for row in rows if row.measurement is not None]
    edges = [edge for row in measured for edge in _latency_edges(row)]
    if not edges:
        return Markup("")
    pad = (max(edges) - min(edges)) * 0.04 or max(edges) * 0.05
    return _chart(
        "latency",
        title="Request latency by point",
        legend=(("request", "request"), ("p50", "P50"), ("p95", "P95"), ("limit", "P95 ceiling")),
        axis="Request latency, s",
        domain=(min(edges) - pad, max(edges) + pad),
        strips=[_latency_strip(row, latencies_s.get(row.point, ())) for row in measured],
        width=width,
    )


def phases_chart(measurements: Sequence[Measurement], *, width: int = WIDE) -> Markup:
    """The mean request's time to first token and its decode time; together its mean latency."""
    if not measurements:
        return Markup("")
    return _chart(
        "phases",
        title="Time to first token and decode time by point",
        legend=(("prefill", "TTFT (queue and prefill)"), ("decode", "decode")),
        axis="Mean request latency, s",
        domain=(0.0, max(m.latency_s.mean for m in measurements) * 1.02),
        strips=[_phases_strip(measurement) for measurement in measurements],
        width=width,
    )


def rounds_chart(measurements: Sequence[Measurement], *, width: int = WIDE) -> Markup:
    """Each round's throughput against the mean of the rounds, the first round on top."""
    steady = [m for m in measurements if len(m.round_tok_s) > 1]
    if not steady:
        return Markup("")
    furthest = max(abs(change) for m in steady for change in _round_changes(m))
    reach = max(furthest * 1.1, _STEADY_PERCENT)
    return _chart(
        "rounds",
        title="Throughput of the rounds by point",
        legend=(("round-dot", "one round, the first on top"),),
        axis="Throughput against the mean of the rounds, %",
        domain=(-reach, reach),
        strips=[_rounds_strip(measurement) for measurement in steady],
        width=width,
    )


def spread(measurement: Measurement) -> float | None:
    """(highest - lowest) / mean of the rounds' throughputs; None with fewer than two rounds."""
    rounds = measurement.round_tok_s
    if len(rounds) < 2:  # noqa: PLR2004 - one round has no spread
        return None
    return (max(rounds) - min(rounds)) / (sum(rounds) / len(rounds))


def thinned(values: Sequence[float], most: int = _MOST_DOTS) -> list[float]:
    """At most `most` order statistics at even ranks, the extremes always among them."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(i * last / (most - 1))] for i in range(most)]


def _latency_edges(row: Row) -> list[float]:
    if row.measurement is None:
        return []
    latency = row.measurement.latency_s
    ceiling = [] if row.ceiling_p95_s is None else [row.ceiling_p95_s]
    return [latency.minimum, latency.maximum, *ceiling]


def _latency_strip(row: Row, latencies_s: Sequence[float]) -> Strip:
    p50 = row.measurement.latency_s.p50 if row.measurement else None
    ticks = (("p50", p50), ("p95", row.p95_s), ("limit", row.ceiling_p95_s))

    def draw(x: svg.Scale, top: float) -> Markup:
        dots = (
            svg.dot(x(value), top + 3 + (i * _GOLDEN % 1) * (_BAND - 6), radius=2)
            for i, value in enumerate(thinned(latencies_s))
        )
        marks = (
            svg.line(x(at), top - 2, x(at), top + _BAND + 2, class_)
            for class_, at in ticks
            if at is not None
        )
        return svg.group([svg.element("g", *dots, class_="request"), *marks])

    said = [f"P50 {numbers.duration_or_words(p50)}", f"P95 {numbers.duration_or_words(row.p95_s)}"]
    return Strip(row.point, ", ".join(said), draw)


def _phases_strip(measurement: Measurement) -> Strip:
    ttft, latency = measurement.ttft_s.mean, measurement.latency_s.mean
    tips = (f"TTFT {numbers.duration(ttft)}", f"decode {numbers.duration(latency - ttft)}")

    def draw(x: svg.Scale, top: float) -> Markup:
        first = svg.bar(x(0), x(ttft), top + 3, _BAND - 6, "prefill", tip=tips[0])
        then = svg.bar(x(ttft), x(latency), top + 3, _BAND - 6, "decode", tip=tips[1])
        return svg.group([first, then])

    return Strip(measurement.point.id, ", ".join(tips), draw)


def _rounds_strip(measurement: Measurement) -> Strip:
    changes = _round_changes(measurement)
    pitch = _BAND / (len(changes) - 1)

    def draw(x: svg.Scale, top: float) -> Markup:
        placed = [(x(change), top + i * pitch) for i, change in enumerate(changes)]
        dots = (
            svg.dot(px, py, "round-dot", radius=2.5, tip=f"round {i}: {numbers.tok_s(value)} tok/s")
            for i, ((px, py), value) in enumerate(
                zip(placed, measurement.round_tok_s, strict=True), start=1
            )
        )
        return svg.group([svg.polyline(placed, "round"), *dots])

    return Strip(measurement.point.id, f"spread {numbers.share(spread(measurement) or 0.0)}", draw)


def _round_changes(measurement: Measurement) -> list[float]:
    mean = sum(measurement.round_tok_s) / len(measurement.round_tok_s)
    return [(value / mean - 1) * 100 for value in measurement.round_tok_s]


def _chart(
    key: str,
    *,
    title: str,
    legend: Sequence[tuple[str, str]],
    axis: str,
    domain: tuple[float, float],
    strips: Sequence[Strip],
    width: int,
) -> Markup:
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
    baseline = top + (_BAND / 2 + 4 if width > NARROW else 9)
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
    if class_ in {"prefill", "decode"}:
        return svg.bar(x, x + 14, 4, 11, class_)
    if class_ in {"request", "round-dot"}:
        return svg.dot(x + 8, 10, class_, radius=3)
    return svg.line(x + 8, 2, x + 8, 18, class_)
