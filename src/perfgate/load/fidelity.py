"""How true a load client's stamps are: its own against those of a server that stamps what it sends.

Pure: stamps in, errors out. All times are integer nanoseconds of one monotonic clock, which client
and server share because they run on one machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from perfgate.errors import NoSamplesError


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedStream:
    """One request: when each token was sent and when the client says it came.

    `request_sent_ns` and `request_came_ns` are the request's own: when the client sent it, when the
    server got it. `numbers` are the tokens' own, from 0, as the server counted them.
    """

    asked: int
    request_sent_ns: int
    request_came_ns: int
    sent_ns: tuple[int, ...]
    arrived_ns: tuple[int, ...]
    numbers: tuple[int, ...]

    @property
    def lost(self) -> int:
        """How many of the tokens asked for never came."""
        return len(set(range(self.asked)) - set(self.numbers))

    @property
    def doubled(self) -> int:
        """How many tokens came again, or were never asked for."""
        return len(self.numbers) - len(set(self.numbers) & set(range(self.asked)))

    @property
    def reordered(self) -> int:
        """How many tokens came after a later one."""
        return sum(later < earlier for earlier, later in pairwise(self.numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """A sample of errors in seconds."""

    p50_s: float
    p95_s: float
    p99_s: float
    worst_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What a client got wrong.

    `lag`: arrival - sending of the same token; Triton's own way from the model to the wire is in
    it. `gap_error`: |client's gap - server's gap| of the same two tokens, in which a constant
    lag cancels. `ttft_error`: client's time to first token - the server's. `lost` and `doubled`
    count tokens, `reordered` tokens that came after a later one.
    """

    requests: int
    tokens: int
    lag: Errors
    gap_error: Errors
    ttft_error: Errors
    lost: int
    doubled: int
    reordered: int


def judge_stamps(streams: Sequence[StampedStream]) -> Fidelity:
    """Hold the client's stamps against the server's; raises NoSamplesError for no token at all."""
    heard = [stream for stream in streams if stream.sent_ns]
    if not heard:
        msg = "no token arrived: there is nothing to hold the client's stamps against"
        raise NoSamplesError(msg)
    sent = [np.array(stream.sent_ns, dtype=np.int64) for stream in heard]
    arrived = [np.array(stream.arrived_ns, dtype=np.int64) for stream in heard]
    gaps = [np.abs(np.diff(b) - np.diff(a)) for a, b in zip(sent, arrived, strict=True)]
    first = [
        (stream.arrived_ns[0] - stream.request_sent_ns)
        - (stream.sent_ns[0] - stream.request_came_ns)
        for stream in heard
    ]
    return Fidelity(
        requests=len(streams),
        tokens=sum(len(stream.sent_ns) for stream in streams),
        lag=_errors(np.concatenate(arrived) - np.concatenate(sent)),
        gap_error=_errors(np.concatenate(gaps)),
        ttft_error=_errors(np.array(first, dtype=np.int64)),
        lost=sum(stream.lost for stream in streams),
        doubled=sum(stream.doubled for stream in streams),
        reordered=sum(stream.reordered for stream in streams),
    )


def _errors(values: NDArray[np.int64]) -> Errors:
    if not values.size:
        return Errors(p50_s=0.0, p95_s=0.0, p99_s=0.0, worst_s=0.0)
    p50, p95, p99, worst = np.percentile(values, (50, 95, 99, 100)) / 1e9
    return Errors(p50_s=float(p50), p95_s=float(p95), p99_s=float(p99), worst_s=float(worst))
