"""Single requests of a point, token by token: which ones to show, and their drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from perfgate.model import RequestRecord, RequestStatus
from perfgate.report import numbers, svg
from perfgate.report.content import Gap, Timeline
from perfgate.report.plots import WIDE
from perfgate.report.strips import BAND, Strip, strip_chart

COLUMNS = ("request", "rank", "tokens", "TTFT", "latency", "longest gap", "at")
MOST_REQUESTS = 7
MOST_TOKENS = 150
"""A page holds at most so many requests a point and drawn tokens a request, however many ran."""


def pick_timelines(
    records: Iterable[RequestRecord], most: int = MOST_REQUESTS
) -> tuple[Timeline, ...]:
    """At most `most` requests that ended well, at even ranks of latency, the slowest first."""
    answered = [r for r in records if r.status is RequestStatus.OK and r.arrivals_ns]
    ordered = sorted(answered, key=lambda record: record.due_ns - record.arrivals_ns[-1])
    shown = min(most, len(ordered))
    last = len(ordered) - 1
    ranks = [round(i * last / (shown - 1)) for i in range(shown)] if shown > 1 else range(shown)
    return tuple(_timeline(ordered[rank], _rank(rank, last)) for rank in ranks)


def timelines_chart(key: str, timelines: Sequence[Timeline], *, width: int = WIDE) -> Markup:
    """A strip a request: until its first token, each token, and the longest gap."""
    longest = max((one.latency_s for one in timelines), default=1.0)
    return strip_chart(
        key,
        title="Token timelines of single requests",
        legend=(("prefill", "until the first token"), ("token", "token"), ("gap", "longest gap")),
        axis="Seconds since the request was due",
        domain=(0.0, longest * 1.01),
        strips=[_strip(one) for one in timelines],
        width=width,
    )


def timelines_table(timelines: Sequence[Timeline]) -> list[tuple[str, ...]]:
    """What the strips show, in numbers."""
    return [
        (
            str(one.index),
            one.rank,
            str(one.tokens),
            numbers.duration(one.arrivals_s[0]),
            numbers.duration(one.latency_s),
            numbers.duration(one.gap.end_s - one.gap.start_s) if one.gap else "one token",
            numbers.duration(one.gap.start_s) if one.gap else "-",
        )
        for one in timelines
    ]


def _timeline(record: RequestRecord, rank: str) -> Timeline:
    arrivals = [(arrival - record.due_ns) / 1e9 for arrival in record.arrivals_ns]
    at_ns = record.arrivals_ns
    widest = max(range(1, len(at_ns)), key=lambda i: at_ns[i] - at_ns[i - 1], default=None)
    always = {0, len(arrivals) - 1} | ({widest - 1, widest} if widest is not None else set())
    every = max(1, -(-len(arrivals) // (MOST_TOKENS - len(always))))
    kept = sorted(always | set(range(0, len(arrivals), every)))
    return Timeline(
        index=record.index,
        rank=rank,
        tokens=record.output_tokens,
        latency_s=arrivals[-1],
        arrivals_s=tuple(arrivals[i] for i in kept),
        gap=None if widest is None else Gap(arrivals[widest - 1], arrivals[widest]),
    )


def _rank(rank: int, last: int) -> str:
    if rank == 0:
        return "slowest"
    return "fastest" if rank == last else f"P{100 * (last - rank) / last:.0f}"


def _strip(one: Timeline) -> Strip:
    first = one.arrivals_s[0]
    gap = f", gap {numbers.duration(one.gap.end_s - one.gap.start_s)}" if one.gap else ""

    def draw(x: svg.Scale, top: float) -> Markup:
        ticks = "".join(f"M{x(at):.1f} {top:g}v{BAND}" for at in one.arrivals_s)
        drawn = [
            svg.bar(x(0), x(first), top + 3, BAND - 6, "prefill"),
            svg.element("path", d=ticks, class_="token"),
        ]
        if one.gap:
            middle = top + BAND / 2
            drawn.append(svg.line(x(one.gap.start_s), middle, x(one.gap.end_s), middle, "gap"))
        return svg.group(drawn)

    return Strip(f"{one.rank}, no. {one.index}", f"{numbers.duration(one.latency_s)}{gap}", draw)
