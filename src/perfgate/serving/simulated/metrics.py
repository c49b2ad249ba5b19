"""Triton metrics of the simulated engine, brought up to date by a timer, never per token."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import triton_python_backend_utils as pb_utils

from perfgate.serving.simulated.gauges import Series, Utilisation, gauges
from perfgate.serving.tensors import TENSORRT_LLM
from perfgate.sim.realtime import REAL_TIME, EngineClock
from perfgate.sim.threaded import EngineStats

_BUCKETS = [10.0, 50.0, 100.0, 500.0, 1000.0]


class EngineMetrics:
    """TensorRT-LLM's metric families, and four of our own, which begin with `ours`.

    `perfgate_sim_gpu_utilization` stands in for `nv_gpu_utilization`, which no box without a GPU
    has; late over busy seconds tells whether the simulator kept the pace of what it simulates. How
    much slower than real time the engine runs, the client has to know.
    """

    def __init__(
        self,
        stats: EngineStats,
        *,
        version: str,
        ours: str = "perfgate_sim",
        clock: EngineClock = REAL_TIME,
    ) -> None:
        self._labels = {"model": TENSORRT_LLM, "version": version}
        self._families: dict[str, Any] = {}  # a metric dies with its family
        self._gauges = {
            series: self._metric(series, "GAUGE") for series in gauges(stats.scheduler, now_us=0)
        }
        self._values: dict[Series, float] = {}
        self._input = self._metric(_length("input"), "HISTOGRAM", buckets=_BUCKETS)
        self._output = self._metric(_length("output"), "HISTOGRAM", buckets=_BUCKETS)
        self._finished: deque[tuple[int, int]] = deque()
        self._utilisation = Utilisation()
        self._busy_share = self._metric(Series(f"{ours}_gpu_utilization"), "GAUGE")
        self._busy = self._metric(Series(f"{ours}_busy_seconds_total"), "COUNTER")
        self._late = self._metric(Series(f"{ours}_late_seconds_total"), "COUNTER")
        self._counted: dict[str, float] = {}
        self._clock = clock
        self._dilation = self._metric(Series(f"{ours}_time_dilation"), "GAUGE")
        self._dilation.set(clock.dilation)

    def finished(self, input_tokens: int, output_tokens: int) -> None:
        """Note a finished request; cheap, from any thread."""
        self._finished.append((input_tokens, output_tokens))

    def update(self, stats: EngineStats) -> None:
        """Hand Triton what has changed since the last update."""
        for series, value in gauges(stats.scheduler, now_us=time.time_ns() // 1000).items():
            if self._values.get(series) != value:
                self._gauges[series].set(value)
                self._values[series] = value
        while self._finished:
            input_tokens, output_tokens = self._finished.popleft()
            self._input.observe(input_tokens)
            self._output.observe(output_tokens)
        self._busy_share.set(self._utilisation.update(self._clock.now_ns(), stats.busy_ns))
        self._count(self._busy, "busy", stats.busy_ns / 1e9)
        self._count(self._late, "late", stats.late_total_ns / 1e9)

    def _metric(self, series: Series, kind: str, **options: Any) -> Any:
        # Read here: Triton adds MetricFamily to the module only after it has imported the model.
        make = pb_utils.MetricFamily
        if series.family not in self._families:
            title = "Engine" if series.label else "perfgate's own"
            self._families[series.family] = make(series.family, title, getattr(make, kind))
        category = {series.label: series.category} if series.label else {}
        return self._families[series.family].Metric(labels={**self._labels, **category}, **options)

    def _count(self, metric: Any, name: str, total: float) -> None:
        if increment := total - self._counted.get(name, 0.0):
            metric.increment(increment)
            self._counted[name] = total


def _length(side: str) -> Series:
    return Series(f"nv_llm_{side}_token_len", "response_metric_type", f"total_{side}_tokens")
