"""pytest-benchmark's JSON: what `pytest-benchmark compare` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest_benchmark
from pytest_benchmark.stats import Stats

from perfgate import codec
from perfgate.errors import NoSamplesError
from perfgate.model import Measurement
from perfgate.report.content import Report


def benchmark_json(report: Report) -> bytes:
    """One benchmark a point, each request of its steady window one round; times in seconds.

    The statistics are computed by pytest-benchmark itself. Raises NoSamplesError if no point has
    its requests' latencies.
    """
    measured = [(one, report.latencies_s.get(one.point.id, ())) for one in report.measurements]
    benchmarks = [_benchmark(one, seconds, report) for one, seconds in measured if seconds]
    if not benchmarks:
        msg = "no point has records, so there is no latency to export; measure again"
        raise NoSamplesError(msg)
    info = report.info
    return codec.to_pretty_json(
        {
            "machine_info": {"node": info.hardware, "machine": info.hardware_title},
            "commit_info": {"id": info.commit},
            "benchmarks": benchmarks,
            "datetime": info.started_at,
            "version": pytest_benchmark.__version__,
        }
    )


def _benchmark(
    measurement: Measurement, latencies_s: Sequence[float], report: Report
) -> dict[str, Any]:
    stats = Stats()  # type: ignore[no-untyped-call]  # ships no types
    for seconds in latencies_s:
        stats.update(seconds)  # type: ignore[no-untyped-call]
    point = measurement.point
    return {
        "group": report.info.hardware,
        "name": point.id,
        "fullname": f"{report.info.hardware}::{point.id}",
        "params": None,
        "param": None,
        "extra_info": {
            "metric": "request latency",
            "throughput_tok_s": measurement.throughput_tok_s,
            "simulated": report.info.simulated,
        },
        "options": {},
        "stats": {
            **stats.as_dict(),  # type: ignore[no-untyped-call]
            "data": list(latencies_s),
            "iterations": 1,
        },
    }
