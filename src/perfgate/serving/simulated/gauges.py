"""The simulated engine's state under the metric names of TensorRT-LLM's C++ backend.

Source of names and labels: `custom_metrics_reporter.cc` of TensorRT-LLM 1.2.
"""

from __future__ import annotations

from typing import NamedTuple

from perfgate.sim.scheduler import SchedulerStats


class Series(NamedTuple):
    """One metric: its family, and the label and category that tell it from its siblings."""

    family: str
    label: str = ""
    category: str = ""


def gauges(stats: SchedulerStats, *, now_us: int) -> dict[Series, float]:
    """Give each gauge its value; `now_us` is the wall clock in microseconds."""
    families: dict[tuple[str, str], dict[str, float]] = {
        ("nv_trt_llm_request_metrics", "request_type"): {
            "active": stats.active,
            "max": stats.max_requests,
            "scheduled": stats.scheduled,
            "context": stats.context,
            "waiting": stats.waiting,
        },
        ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type"): {
            "max": stats.kv_blocks_max,
            "free": stats.kv_blocks_free,
            "used": stats.kv_blocks_used,
            "tokens_per": stats.tokens_per_block,
            "reused": 0,
            "fraction": stats.kv_blocks_used / stats.kv_blocks_max,
        },
        ("nv_trt_llm_inflight_batcher_metrics", "inflight_batcher_specific_metric"): {
            "total_context_tokens": stats.context_tokens,
            "generation_requests": stats.generation,
            "micro_batch_id": 0,
            "paused_requests": stats.paused,
        },
        ("nv_trt_llm_general_metrics", "general_type"): {
            "timestamp": now_us,
            "iteration_counter": stats.iteration,
        },
    }
    return {
        Series(family, label, category): value
        for (family, label), values in families.items()
        for category, value in values.items()
    }


class Utilisation:
    """The share of the last second in which the simulated GPU computed."""

    def __init__(self, window_ns: int = 1_000_000_000) -> None:
        self._window_ns = window_ns
        self._samples: list[tuple[int, int]] = []

    def update(self, now_ns: int, busy_ns: int) -> float:
        """Add a sample of the busy time since the start; returns 0 to 1.

        An iteration counts in full when it starts, hence the bound.
        """
        self._samples.append((now_ns, busy_ns))
        while self._samples[1:] and self._samples[1][0] <= now_ns - self._window_ns:
            del self._samples[0]
        first_ns, first_busy_ns = self._samples[0]
        elapsed_ns = now_ns - first_ns
        return min(1.0, (busy_ns - first_busy_ns) / elapsed_ns) if elapsed_ns else 0.0
