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
    node = request.node
    benchmark = None if _TIMED in node.stash else request.getfixturevalue("benchmark")
    node.stash[_TIMED] = True
    try:
        measurement = rig.measure(point, time_rounds=benchmark and _stopwatch(benchmark))
    except PerfGateError as error:
        keep(node, Unmeasured(point=point.id, reason=str(error)))
        raise
    if benchmark:
        benchmark.extra_info.update(_extra(measurement))
    keep(node, measurement)
    return measurement


def _stopwatch(benchmark: Any) -> Callable[[Callable[[], None], int], object]:
    return lambda one_round, rounds: benchmark.pedantic(one_round, rounds=rounds, iterations=1)


def _extra(measurement: Measurement) -> dict[str, object]:
    return {
        "point": measurement.point.id,
        "simulated": measurement.fingerprint.simulated,
        "throughput_tok_s": measurement.throughput_tok_s,
        "latency_p50_s": measurement.latency_s.p50,
        "latency_p95_s": measurement.latency_s.p95,
        "ttft_p50_s": measurement.ttft_s.p50,
    }
