"""The points beside one another: request latencies, phases of a request, rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from perfgate.model import Measurement
from perfgate.report import numbers, svg
from perfgate.report.content import Row
from perfgate.report.plots import WIDE
from perfgate.report.strips import BAND, Strip, strip_chart

_MOST_DOTS = 300
_GOLDEN = 0.618034  # its multiples spread evenly: a jitter that is the same in every drawing

# The axes span at least this much, so that mere noise looks like noise, ...
_STEADY_PERCENT = 5.0
_STEADY_RATIOS = (0.9, 1.1)
# ... and at most this, so that one straggler does not press all others into a line.
_WIDEST_RATIOS = (0.5, 1.5)


def latency_chart(
    rows: Sequence[Row], latencies_s: Mapping[str, tuple[float, ...]], *, width: int = WIDE
) -> Markup:
    """Every request's latency over its point's P50, with P95 and the ceiling.

    Relative, because points differ by orders of magnitude and what is asked is how flat each is.
    A point of many requests is drawn by evenly spaced order statistics, which keep its shape.
    """
    measured = [row for row in rows if row.measurement is not None]
    return strip_chart(
        "latency",
        title="Request latency by point, relative to its P50",
        legend=(("request", "request"), ("p50", "P50"), ("p95", "P95"), ("limit", "P95 ceiling")),
        axis="Request latency / P50 of the point",
        domain=_ratio_domain([ratio for row in measured for ratio in _edges(row)]),
        strips=[_latency_strip(row, latencies_s.get(row.point, ())) for row in measured],
        width=width,
    )


def phases_chart(measurements: Sequence[Measurement], *, width: int = WIDE) -> Markup:
    """The mean request's time to first token and its decode time; together its mean latency."""
    return strip_chart(
        "phases",
        title="Time to first token and decode time by point",
        legend=(("prefill", "TTFT (queue and prefill)"), ("decode", "decode")),
        axis="Mean request latency, s",
        domain=(0.0, max((m.latency_s.mean for m in measurements), default=1.0) * 1.02),
        strips=[_phases_strip(measurement) for measurement in measurements],
        width=width,
    )


def rounds_chart(measurements: Sequence[Measurement], *, width: int = WIDE) -> Markup:
    """Each round's throughput against the mean of the rounds, the first round on top."""
    several = [measurement for measurement in measurements if len(measurement.round_tok_s) > 1]
    changes = [abs(change) for measurement in several for change in _round_changes(measurement)]
    reach = max([change * 1.1 for change in changes] + [_STEADY_PERCENT])
    return strip_chart(
        "rounds",
        title="Throughput of the rounds by point",
        legend=(("round-dot", "one round, the first on top"),),
        axis="Throughput against the mean of the rounds, %",
        domain=(-reach, reach),
        strips=[_rounds_strip(measurement) for measurement in several],
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


def _edges(row: Row) -> list[float]:
    if row.measurement is None:
        return []
    latency = row.measurement.latency_s
    ceiling = [] if row.ceiling_p95_s is None else [row.ceiling_p95_s]
    return [seconds / latency.p50 for seconds in (latency.minimum, latency.maximum, *ceiling)]


def _ratio_domain(ratios: Sequence[float]) -> tuple[float, float]:
    low = max(min([*ratios, _STEADY_RATIOS[0]]), _WIDEST_RATIOS[0])
    high = min(max([*ratios, _STEADY_RATIOS[1]]), _WIDEST_RATIOS[1])
    pad = (high - low) * 0.03
    return low - pad, high + pad


def _latency_strip(row: Row, latencies_s: Sequence[float]) -> Strip:
    p50 = row.measurement.latency_s.p50 if row.measurement else 1.0
    ticks = (("p50", p50), ("p95", row.p95_s), ("limit", row.ceiling_p95_s))

    def draw(x: svg.Scale, top: float) -> Markup:
        dots = (
            _request(x, seconds / p50, top + 3 + (i * _GOLDEN % 1) * (BAND - 6), seconds)
            for i, seconds in enumerate(thinned(latencies_s))
        )
        marks = (
            svg.line(x(at / p50), top - 2, x(at / p50), top + BAND + 2, class_)
            for class_, at in ticks
            if at is not None and x.low <= at / p50 <= x.high
        )
        return svg.group([svg.element("g", *dots, class_="request"), *marks])

    said = (f"P50 {numbers.duration(p50)}", f"P95 {numbers.duration_or_words(row.p95_s)}")
    return Strip(row.point, ", ".join(said), draw)


def _request(x: svg.Scale, ratio: float, y: float, seconds: float) -> Markup:
    if x.low <= ratio <= x.high:
        return svg.dot(x(ratio), y, radius=2)
    edge = x.start_px if ratio < x.low else x.end_px
    return svg.diamond(edge, y, "over", radius=4, tip=f"{numbers.duration(seconds)}, off the axis")


def _phases_strip(measurement: Measurement) -> Strip:
    ttft, latency = measurement.ttft_s.mean, measurement.latency_s.mean
    decode = f"decode {numbers.duration(latency - ttft)}" if measurement.tpot_s else "no decode"
    tips = (f"TTFT {numbers.duration(ttft)}", decode)

    def draw(x: svg.Scale, top: float) -> Markup:
        first = svg.bar(x(0), x(ttft), top + 3, BAND - 6, "prefill", tip=tips[0])
        then = svg.bar(x(ttft), x(latency), top + 3, BAND - 6, "decode", tip=tips[1])
        return svg.group([first, then])

    return Strip(measurement.point.id, ", ".join(tips), draw)


def _rounds_strip(measurement: Measurement) -> Strip:
    changes = _round_changes(measurement)
    pitch = BAND / (len(changes) - 1)

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
