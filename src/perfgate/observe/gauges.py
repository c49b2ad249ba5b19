"""What of Triton's metrics tells how full the server is; a family it lacks is None."""

from __future__ import annotations

import math
from collections.abc import Mapping

from perfgate.model import ServerSample

_REQUESTS = "nv_trt_llm_request_metrics"
_KV_CACHE = "nv_trt_llm_kv_cache_block_metrics"
# The simulated engine's own, or else the GPU's; on a server of several GPUs the busiest counts.
_UTILISATION = ("perfgate_sim_gpu_utilization", "nv_gpu_utilization")


def server_sample(metrics: Mapping[str, float], *, at_ns: int) -> ServerSample:
    """Read one moment out of a scrape; keys are full series names with their labels."""
    busy = (_largest(metrics, family) for family in _UTILISATION)
    return ServerSample(
        at_ns=at_ns,
        kv_cache=_largest(metrics, _KV_CACHE, "fraction"),
        active=_largest(metrics, _REQUESTS, "active"),
        waiting=_largest(metrics, _REQUESTS, "waiting"),
        gpu_utilization=next((share for share in busy if share is not None), None),
    )


def _largest(metrics: Mapping[str, float], family: str, category: str = "") -> float | None:
    label = f'="{category}"' if category else ""
    values = [
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == family and label in series and math.isfinite(value)
    ]
    return max(values, default=None)
