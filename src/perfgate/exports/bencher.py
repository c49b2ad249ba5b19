"""Bencher Metric Format: what `bencher run --adapter json` reads (bencher.dev/bmf.json)."""

from __future__ import annotations

from perfgate import codec
from perfgate.model import Measurement
from perfgate.report.content import Report

Metric = dict[str, float]


def bencher(report: Report) -> bytes:
    """One benchmark a point, named `hardware/point`; measures are named by metric and unit.

    Bounds of throughput are the slowest and fastest round, of P50 latency the fastest and slowest
    request. What a sample cannot hold is no measure.
    """
    return codec.to_pretty_json(
        {
            f"{report.info.hardware}/{measurement.point.id}": _measures(measurement)
            for measurement in report.measurements
        }
    )


def _measures(measurement: Measurement) -> dict[str, Metric]:
    latency, ttft, tpot = measurement.latency_s, measurement.ttft_s, measurement.tpot_s
    rounds = measurement.round_tok_s or (measurement.throughput_tok_s,)
    single = {
        "request-latency-p95-s": latency.p95,
        "time-to-first-token-p50-s": ttft.p50,
        "time-to-first-token-p95-s": ttft.p95,
        "time-per-output-token-p50-s": tpot.p50 if tpot else None,
    }
    return {
        "output-token-throughput-tok-s": _metric(
            measurement.throughput_tok_s, min(rounds), max(rounds)
        ),
        "request-latency-p50-s": _metric(latency.p50, latency.minimum, latency.maximum),
        **{name: {"value": value} for name, value in single.items() if value is not None},
    }


def _metric(value: float, lower: float, upper: float) -> Metric:
    return {"value": value, "lower_value": lower, "upper_value": upper}
