"""The numbers that are judged: how to read each, and which way is worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perfgate.model import Measurement, Phase


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

PREFILL = Metric(
    name="prefill_s",
    title="prefill",
    unit="s",
    read=lambda measurement: _phase(measurement, Phase.PREFILL),
)
DECODE_STEP = Metric(
    name="decode_step_s",
    title="decode step",
    unit="s",
    read=lambda measurement: _decode_step(measurement),  # noqa: PLW0108 - it stands below
)


def _phase(measurement: Measurement, phase: Phase) -> float | None:
    """Mean seconds of the phase; None where it is not told, or took no time."""
    told = measurement.attribution.phases_s if measurement.attribution else {}
    return told.get(phase) or None


def _decode_step(measurement: Measurement) -> float | None:
    decode_s = _phase(measurement, Phase.DECODE)
    steps = measurement.attribution.decode_steps if measurement.attribution else 0.0
    return decode_s / steps if decode_s is not None and steps else None


BY_NAME = {
    metric.name: metric
    for metric in (THROUGHPUT, LATENCY_P95, TTFT_P50, TPOT_P50, PREFILL, DECODE_STEP)
}
"""The judged metrics by the name that policies, baselines and cells use."""
