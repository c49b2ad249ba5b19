"""Every request of a load before it starts: how long, and when due.

Drawn from the workload's seed alone, each quantity from a stream of its own, so that a longer
schedule begins with the shorter one and both arms of a pair get the same requests. Uniform numbers
go through inverse distribution functions: the one primitive that is drawn is the most stable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from perfgate.errors import UsageError
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthLaw,
    RequestRecord,
    Sampling,
    Workload,
)
from perfgate.traffic.trace import TraceRow

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_PICK, _INPUT, _OUTPUT, _GAP = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The requests of a load in order of use, one position each.

    `due_ns` counts from the start and is empty in a closed loop. `parts` names the part of the
    workload's mix that each belongs to, and is empty where there is none.
    """

    isl: tuple[int, ...]
    osl: tuple[int, ...]
    due_ns: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()

    def describe(self, record: RequestRecord) -> RequestRecord:
        """The record with what was planned for it, where requests are not all alike."""
        position = record.index
        part = self.parts[position] if self.parts else ""
        return replace(record, expected_input_tokens=self.isl[position], part=part)


def plan_schedule(load: Workload, requests: int, trace: Sequence[TraceRow] = ()) -> Schedule:
    """Draw the first `requests` requests of a load; `trace` holds the rows of the load's own.

    Raises UsageError if the trace holds fewer.
    """
    if load.trace is not None:
        return _replayed(load, requests, trace)
    picks = _pick(load, requests)
    isl, osl = _lengths(load, requests, picks)
    due_ns = () if load.arrivals is None else _whole(_due_s(load.arrivals, requests, load.seed))
    return Schedule(
        isl=tuple(isl.tolist()),
        osl=tuple(osl.tolist()) if due_ns else _staggered(load, osl.tolist()),
        due_ns=due_ns,
        parts=tuple(load.mix[pick].name for pick in picks) if load.mix else (),
    )


def first_request(load: Workload, client: int) -> int:
    """The position of a client's first request.

    Conversations are met in mid-course, client k at turn k, so that early and late turns are in
    flight together from the start.
    """
    return client * load.turns + client % load.turns


def ramp_requests(load: Workload, sampling: Sampling) -> int:
    """Return how many requests end before the first round.

    In a closed loop each client ends so many, in an open one all of them together.
    """
    if load.arrivals is None:
        return sampling.ramp
    return sampling.ramp * sampling.round_requests


def positions_needed(load: Workload, requests: int) -> int:
    """How long a schedule must be for so many requests to end while all clients go on sending."""
    if load.sessions is None:
        return requests + load.concurrency
    # Each client skips the turns before its first and may be left in mid-conversation.
    return (-(-requests // load.turns) + 2 * load.concurrency) * load.turns


def _staggered(load: Workload, osl: list[int]) -> tuple[int, ...]:
    """Shorten each client's first request.

    All clients of a closed loop start at once. If their requests were equally long they would also
    end at once, for ever. So client k's first request asks for a share (k + 1) / concurrency of its
    output: completions then spread evenly over one request latency, however long that is.
    """
    for client in range(load.concurrency):
        position = first_request(load, client)
        if position < len(osl):
            osl[position] = max(1, round(osl[position] * (client + 1) / load.concurrency))
    return tuple(osl)


def _lengths(load: Workload, requests: int, picks: Integers) -> tuple[Integers, Integers]:
    if not load.mix:
        turn = np.arange(requests) % load.turns
        isl = (turn + 1) * load.isl + turn * load.osl
        return isl, np.full(requests, load.osl)
    of_isl = [draw_lengths(part.isl, _uniform(load.seed, _INPUT, requests)) for part in load.mix]
    of_osl = [draw_lengths(part.osl, _uniform(load.seed, _OUTPUT, requests)) for part in load.mix]
    which = (picks, np.arange(requests))
    return np.stack(of_isl)[which], np.stack(of_osl)[which]


def _pick(load: Workload, requests: int) -> Integers:
    edges = np.cumsum([part.share for part in load.mix])[:-1]
    picked: Integers = np.searchsorted(edges, _uniform(load.seed, _PICK, requests), side="right")
    return picked


def draw_lengths(length: Length, uniform: Array) -> Integers:
    """Turn uniform numbers in [0, 1) into lengths, by the inverse of the law's distribution."""
    if length.mean is None or length.stdev is None:
        spread = length.least + np.floor(uniform * (length.most - length.least + 1))
    elif length.law is LengthLaw.NORMAL:
        spread = length.mean + length.stdev * scipy.special.ndtri(uniform)
    else:
        sigma2 = np.log1p((length.stdev / length.mean) ** 2)
        spread = np.exp(
            np.log(length.mean) - sigma2 / 2 + np.sqrt(sigma2) * scipy.special.ndtri(uniform)
        )
    drawn: Integers = np.clip(np.rint(spread), length.least, length.most).astype(np.int64)
    return drawn


def _due_s(arrivals: Arrivals, requests: int, seed: int) -> Array:
    rate = arrivals.requests_per_s
    match arrivals.process:
        case ArrivalProcess.POISSON:
            due: Array = np.cumsum(-np.log1p(-_uniform(seed, _GAP, requests))) / rate
        case ArrivalProcess.BURSTS:
            due = np.arange(requests) // arrivals.burst * (arrivals.burst / rate)
        case _:
            due = np.arange(requests) / rate
    return due


def _replayed(load: Workload, requests: int, trace: Sequence[TraceRow]) -> Schedule:
    recorded, arrivals = load.trace, load.arrivals
    assert recorded is not None  # noqa: S101 - for the type checker; the caller has looked
    assert arrivals is not None  # noqa: S101 - as above
    if requests > len(trace):
        rule = f"this load takes {requests}; replay a longer trace or measure fewer rounds"
        raise UsageError(f"{recorded.path}: requests", len(trace), rule)
    stretch = recorded.requests_per_s / arrivals.requests_per_s
    rows = trace[:requests]
    return Schedule(
        isl=tuple(row.isl for row in rows),
        osl=tuple(row.osl for row in rows),
        due_ns=tuple(round(row.at_ns * stretch) for row in rows),
    )


def _uniform(seed: int, stream: int, count: int) -> Array:
    return np.random.default_rng((seed, stream)).random(count)


def _whole(seconds: Array) -> tuple[int, ...]:
    return tuple(np.rint(seconds * 1e9).astype(np.int64).tolist())
