"""A point's rounds under pytest-benchmark's stopwatch: its tables and storage serve them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfgate.errors import PerfGateError
from perfgate.model import Measurement, OperatingPoint
from perfgate.plugin import keep
from perfgate.rig import Rig
from perfgate.summary import Unmeasured

_TIMED = pytest.StashKey[bool]()


def measure(request: pytest.FixtureRequest, rig: Rig, point: OperatingPoint) -> Measurement:
    """Measure `point` for the requesting test, or return what an earlier test measured.

    A test's first measurement is what its `benchmark` fixture times, a round at a time; the
    fixture can be used once, so a second point of the same test goes without.
    """
    if rig.is_measured(point):
        return rig.measure(point)
    stopwatch = _Stopwatch(request)
    try:
        measurement = rig.measure(point, time_rounds=stopwatch.time_rounds)
    except PerfGateError as error:
        keep(request.node, Unmeasured(point=point.id, reason=str(error)))
        raise
    stopwatch.note(_extra(measurement))
    keep(request.node, measurement)
    return measurement


class _Stopwatch:
    """The test's `benchmark` fixture, asked for only when there is something to time."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._benchmark: Any = None

    def time_rounds(self, one_round: Callable[[], None], rounds: int) -> None:
        if _TIMED not in self._request.node.stash:
            self._request.node.stash[_TIMED] = True
            self._benchmark = self._request.getfixturevalue("benchmark")
            self._benchmark.pedantic(one_round, rounds=rounds, iterations=1)

    def note(self, extra: dict[str, object]) -> None:
        if self._benchmark is not None:
            self._benchmark.extra_info.update(extra)


def _extra(measurement: Measurement) -> dict[str, object]:
    return {
        "point": measurement.point.id,
        "simulated": measurement.fingerprint.simulated,
        "throughput_tok_s": measurement.throughput_tok_s,
        "latency_p50_s": measurement.latency_s.p50,
        "latency_p95_s": measurement.latency_s.p95,
        "ttft_p50_s": measurement.ttft_s.p50,
    }
