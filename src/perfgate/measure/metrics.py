"""The metrics, one row each: name, unit, which way is better, and the formula it computes.

For a request: `due` is when its client became free to send it, `arrival[i]` when the i-th
message with tokens came in, `tokens[i]` how many tokens that held. A message of several tokens
is one arrival: no time passed between its tokens for whoever reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from perfgate.measure.window import Window
from perfgate.model import RequestRecord

Sample = NDArray[np.float64]
Value = TypeVar("Value", float, Sample)


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Generic[Value]):
    """One row; `name` is the field of a Measurement, `of` the formula as code."""

    name: str
    title: str
    unit: str
    direction: Direction
    formula: str
    of: Callable[[Window], Value]


def first_token_s(record: RequestRecord) -> float:
    """Time to first token of one request."""
    return (record.arrivals_ns[0] - record.due_ns) / 1e9


def latency_s(record: RequestRecord) -> float:
    """Time to last token of one request."""
    return (record.arrivals_ns[-1] - record.due_ns) / 1e9


def time_per_token_s(record: RequestRecord) -> float:
    """Mean time of each token after the first of one request."""
    return (latency_s(record) - first_token_s(record)) / (record.output_tokens - 1)


def residence_s(record: RequestRecord) -> float:
    """How long one request held its client: to the final response, which may follow the tokens."""
    return (record.finished_ns - record.due_ns) / 1e9


def _with_tokens(window: Window) -> Iterator[RequestRecord]:
    return (record for record in window.finished if record.arrivals_ns)


def _each(window: Window, formula: Callable[[RequestRecord], float]) -> Sample:
    return np.array([formula(record) for record in _with_tokens(window)], dtype=np.float64)


def bundles(window: Window) -> bool:
    """Whether a message held several tokens, or as many as nobody counted."""
    return any(
        not record.counted or any(tokens != 1 for tokens in record.tokens)
        for record in window.finished
    )


def _times_per_token(window: Window) -> Sample:
    several = [record for record in _with_tokens(window) if record.output_tokens > 1]
    return np.array([time_per_token_s(record) for record in several], dtype=np.float64)


def _gaps(window: Window) -> Sample:
    gaps = [np.diff(np.array(record.arrivals_ns)) for record in _with_tokens(window)]
    return np.concatenate(gaps) / 1e9 if gaps else np.empty(0)


def _throughput(window: Window) -> float:
    return window.tokens_between(window.start_ns, window.end_ns) / window.seconds


def _request_rate(window: Window) -> float:
    return len(window.finished) / window.seconds


def _mean_in_flight(window: Window) -> float:
    overlaps = (
        min(record.finished_ns, window.end_ns) - max(record.sent_ns, window.start_ns)
        for record in window.records
    )
    return sum(max(0, overlap) for overlap in overlaps) / (window.end_ns - window.start_ns)


THROUGHPUT = Metric(
    name="throughput_tok_s",
    title="output token throughput",
    unit="tok/s",
    direction=Direction.HIGHER,
    formula="tokens that arrived in the window / window",
    of=_throughput,
)
REQUEST_RATE = Metric(
    name="request_rate_s",
    title="request throughput",
    unit="1/s",
    direction=Direction.HIGHER,
    formula="requests that ended well in the window / window",
    of=_request_rate,
)
MEAN_IN_FLIGHT = Metric(
    name="mean_in_flight",
    title="mean requests in flight",
    unit="requests",
    direction=Direction.NEITHER,
    formula="sum over requests of the time in flight inside the window / window",
    of=_mean_in_flight,
)
LATENCY = Metric(
    name="latency_s",
    title="request latency",
    unit="s",
    direction=Direction.LOWER,
    formula="arrival[last] - due, one value a request",
    of=lambda window: _each(window, latency_s),
)
TTFT = Metric(
    name="ttft_s",
    title="time to first token",
    unit="s",
    direction=Direction.LOWER,
    formula="arrival[0] - due, one value a request",
    of=lambda window: _each(window, first_token_s),
)
TPOT = Metric(
    name="tpot_s",
    title="time per output token",
    unit="s",
    direction=Direction.LOWER,
    formula="(latency - TTFT) / (tokens - 1), one value a request of two tokens or more",
    of=_times_per_token,
)
ITL = Metric(
    name="itl_s",
    title="inter-token latency",
    unit="s",
    direction=Direction.LOWER,
    formula="arrival[i] - arrival[i - 1], one value a gap",
    of=_gaps,
)

METRICS = (THROUGHPUT, REQUEST_RATE, MEAN_IN_FLIGHT, LATENCY, TTFT, TPOT, ITL)
