"""Loads of all shapes, by hand and for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthClass,
    LengthLaw,
    Sessions,
    Trace,
    Workload,
)
from perfgate.traffic.trace import requests_per_s


def a_mix(short=0.9):
    """Short requests, and a few with long prompts."""

    def fixed(tokens):
        return Length(least=tokens, most=tokens)

    return (
        LengthClass(name="short", share=short, isl=fixed(16), osl=fixed(32)),
        LengthClass(name="long", share=round(1 - short, 9), isl=fixed(96), osl=fixed(8)),
    )


def a_replay(rows, *, requests_per_s=None):
    """A load that replays these rows."""
    recorded = rate_of(rows)
    trace = Trace(
        path="t.jsonl",
        sha256="0" * 64,
        requests=len(rows),
        requests_per_s=recorded,
        most_tokens=max(row.isl + row.osl for row in rows),
    )
    arrivals = Arrivals(
        process=ArrivalProcess.REPLAY, requests_per_s=requests_per_s or recorded, trace=trace
    )
    return Workload(
        concurrency=8,
        isl=max(row.isl for row in rows),
        osl=max(row.osl for row in rows),
        arrivals=arrivals,
    )


rate_of = requests_per_s


@st.composite
def lengths(draw):
    """Any distribution of lengths."""
    least = draw(st.integers(1, 200))
    most = least + draw(st.integers(0, 400))
    law = draw(st.sampled_from(LengthLaw))
    if law is LengthLaw.UNIFORM:
        return Length(least=least, most=most)
    mean, stdev = draw(st.floats(1, 500)), draw(st.floats(0.1, 300))
    return Length(least=least, most=most, law=law, mean=mean, stdev=stdev)


@st.composite
def mixes(draw):
    """One to three parts."""
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    return tuple(
        LengthClass(
            name=f"part-{number}",
            share=weight / sum(weights),
            isl=draw(lengths()),
            osl=draw(lengths()),
        )
        for number, weight in enumerate(weights)
    )


@st.composite
def arrivals(draw):
    """Any arrival process but a replay."""
    process = draw(st.sampled_from([p for p in ArrivalProcess if p is not ArrivalProcess.REPLAY]))
    burst = draw(st.integers(2, 30)) if process is ArrivalProcess.BURSTS else 1
    rate = draw(st.floats(0.1, 1000))
    return Arrivals(process=process, requests_per_s=rate, burst=burst)


@st.composite
def loads(draw, arriving=None):
    """Loads of fixed and mixed lengths, closed and open, and conversations."""
    sizes = {"concurrency": draw(st.integers(1, 20)), "seed": draw(st.integers(0, 2**40))}
    when = draw(st.none() | arrivals() if arriving is None else arriving)
    mix = draw(st.just(()) | mixes())
    if mix:
        isl, osl = max(p.isl.most for p in mix), max(p.osl.most for p in mix)
        return Workload(**sizes, isl=isl, osl=osl, mix=mix, arrivals=when)
    isl, osl = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    sessions = None if when else draw(st.none() | st.builds(Sessions, turns=st.integers(2, 6)))
    return Workload(**sizes, isl=isl, osl=osl, arrivals=when, sessions=sessions)


def open_loads():
    """Loads with arrivals of their own."""
    return loads(arriving=arrivals())
