"""Where a request's time went: the client's stamps and the engine's own, laid end to end.

    due ... sent ... arrival ... first scheduled ... first token ... last token ... received
     client   way-in     queue         prefill          decode         way-back

Phases are differences of neighbouring stamps: they add up to the latency exactly, if both clocks
are one. Client and server on one host read the same monotonic clock; whether they do is seen from
the stamps: no request arrives before it was sent, nor is it received before it was computed. On
two hosts the clocks differ by what their boots do, and only the engine's own phases can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from perfgate.measure.metrics import latency_s
from perfgate.measure.window import Window
from perfgate.model import Attribution, LoadRun, Phase, RequestRecord

_ONE_CLOCK = (
    Phase.CLIENT,
    Phase.WAY_IN,
    Phase.QUEUE,
    Phase.PREFILL,
    Phase.DECODE,
    Phase.WAY_BACK,
)
_COUNTED_US = 'nv_inference_request_duration_us{model="postprocessing"'
_COUNTED = 'nv_inference_request_success{model="postprocessing"'

Stamps = NDArray[np.int64]

# Kernel stamps come from another clock, good to microseconds; two hosts differ by far more.
_SLACK_NS = 1_000_000


def attribute(run: LoadRun, window: Window) -> Attribution:
    """Attribute the window's mean latency; never fails, but may be unable to tell."""
    answered = [record for record in window.finished if record.arrivals_ns]
    timed = [record for record in answered if record.server is not None]
    if not timed:
        return _untold(
            answered, "the server timed no request, so that only the client's view is known"
        )
    stamps = np.array([_stamps(record) for record in timed], dtype=np.int64)
    if (np.diff(stamps[:, 2:6]) < 0).any():
        return _untold(timed, "the server's stamps of a request are out of order")
    if (np.diff(stamps) >= -_SLACK_NS).all():
        phases, note = _with_one_clock(stamps, run)
    else:
        phases, note = _with_two_clocks(stamps)
    if phases.get(Phase.NETWORK, 0.0) < 0:
        return _untold(timed, "by the server's stamps requests took longer than the client waited")
    if len(timed) < len(answered):
        note = f"{note}; timed were {len(timed)} of {len(answered)} requests".removeprefix("; ")
    return _attribution(timed, phases, note)


def _stamps(record: RequestRecord) -> tuple[int, ...]:
    server = record.server
    assert server is not None  # noqa: S101 - for the type checker; the caller has chosen
    return (
        record.due_ns,
        record.sent_ns,
        server.arrival_ns,
        server.first_scheduled_ns,
        server.first_token_ns,
        server.last_token_ns,
        record.arrivals_ns[-1],
    )


def _with_one_clock(stamps: Stamps, run: LoadRun) -> tuple[dict[Phase, float], str]:
    means = np.diff(stamps).mean(axis=0) / 1e9
    phases = dict(zip(_ONE_CLOCK, map(float, means), strict=True))
    counted_s = _counted_postprocessing_s(run)
    if counted_s is None or counted_s > phases[Phase.WAY_BACK]:
        return (
            phases,
            "the way back includes postprocessing: Triton's counters do not tell it apart",
        )
    way_back_s = phases.pop(Phase.WAY_BACK) - counted_s
    return phases | {Phase.POSTPROCESSING: counted_s, Phase.WAY_BACK: way_back_s}, ""


def _with_two_clocks(stamps: Stamps) -> tuple[dict[Phase, float], str]:
    """Differences within each clock; what is left of the latency lies between them."""
    means = dict(zip(_ONE_CLOCK, map(float, np.diff(stamps).mean(axis=0) / 1e9), strict=True))
    told = (Phase.CLIENT, Phase.QUEUE, Phase.PREFILL, Phase.DECODE)
    phases = {phase: means[phase] for phase in told}
    latency = float((stamps[:, -1] - stamps[:, 0]).mean() / 1e9)
    phases[Phase.NETWORK] = latency - sum(phases.values())
    return phases, (
        "client and server read different clocks: network holds both ways, with pre- and"
        " postprocessing"
    )


def _counted_postprocessing_s(run: LoadRun) -> float | None:
    """Mean time of a message in the postprocessing model, over the whole run."""
    counted = _growth(run, _COUNTED)
    duration_us = _growth(run, _COUNTED_US)
    return duration_us / counted / 1e6 if counted and duration_us is not None else None


def _growth(run: LoadRun, start: str) -> float | None:
    after = [name for name in run.server_after if name.startswith(start)]
    if not after:
        return None
    return sum(run.server_after[name] - run.server_before.get(name, 0.0) for name in after)


def _untold(records: Sequence[RequestRecord], reason: str) -> Attribution:
    return _attribution(records, {}, reason, timed=0)


def _attribution(
    records: Sequence[RequestRecord],
    phases: dict[Phase, float],
    note: str,
    *,
    timed: int | None = None,
) -> Attribution:
    return Attribution(
        requests=len(records) if timed is None else timed,
        latency_s=_mean(records, latency_s),
        decode_steps=_mean(records, lambda record: record.output_tokens - 1),
        phases_s={phase: phases[phase] for phase in Phase if phase in phases},
        note=note,
    )


def _mean(records: Sequence[RequestRecord], of: Callable[[RequestRecord], float]) -> float:
    return sum(map(of, records)) / len(records) if records else 0.0
