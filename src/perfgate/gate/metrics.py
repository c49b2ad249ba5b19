"""The numbers that are judged: how to read each, and which way is worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perfgate.model import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a measurement; `name` is also its field in a RunSample."""

    name: str
    title: str
    unit: str
    higher_is_better: bool = False
    read: Callable[[Measurement], float | None]

    def gain(self, got: float, expected: float) -> float:
        """Relative change from `expected` to `got`, above zero where `got` is the better one."""
        change = got / expected - 1
        return change if self.higher_is_better else -change


THROUGHPUT = Metric(
    name="throughput_tok_s",
    title="throughput",
    unit="tok/s",
    higher_is_better=True,
    read=lambda measurement: measurement.throughput_tok_s,
)
LATENCY_P95 = Metric(
    name="latency_p95_s",
    title="P95 latency",
    unit="s",
    read=lambda measurement: measurement.latency_s.p95,
)
TTFT_P50 = Metric(
    name="ttft_p50_s",
    title="median TTFT",
    unit="s",
    read=lambda measurement: measurement.ttft_s.p50,
)
TPOT_P50 = Metric(
    name="tpot_p50_s",
    title="median TPOT",
    unit="s",
    read=lambda measurement: measurement.tpot_s.p50 if measurement.tpot_s else None,
)

BY_NAME = {metric.name: metric for metric in (THROUGHPUT, LATENCY_P95, TTFT_P50, TPOT_P50)}
"""The judged metrics by the name that policies, baselines and cells use."""
