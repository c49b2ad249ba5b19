"""What the model `llmapi` passes to `tensorrt_llm.LLM`: pure, checked against its version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perfgate.engines.flags import check_keywords, parse_version
from perfgate.model import (
    BatchingStrategy,
    EngineSpec,
    Precision,
    SchedulerPolicy,
    ServingSpec,
)

_PERF_METRICS_SINCE = parse_version("1.2.0")
_POLICIES = {
    SchedulerPolicy.GUARANTEED_NO_EVICT: "GUARANTEED_NO_EVICT",
    SchedulerPolicy.MAX_UTILIZATION: "MAX_UTILIZATION",
}


def llm_arguments(
    spec: EngineSpec, serving: ServingSpec, *, checkpoint: Path, version: str
) -> dict[str, Any]:
    """The keyword arguments of LLM, as JSON holds them.

    The KV cache is pinned in tokens and nothing is reused, as on the other targets. Raises
    UsageError naming the keyword and the version if that version has no such argument.
    """
    fp8 = spec.precision is Precision.FP8
    static = serving.batching is BatchingStrategy.STATIC
    arguments: dict[str, Any] = {
        "model": str(checkpoint),
        "backend": "pytorch",
        "dtype": "auto" if fp8 else "float16",
        "tensor_parallel_size": 1,
        "max_batch_size": spec.max_batch_size,
        "max_input_len": spec.max_input_len,
        "max_seq_len": spec.max_seq_len,
        "max_num_tokens": spec.max_num_tokens,
        "max_beam_width": 1,
        "enable_chunked_prefill": serving.chunked_context,
        "kv_cache_config": {
            "max_tokens": serving.kv_cache_tokens,
            "enable_block_reuse": False,
            "dtype": "fp8" if fp8 else "auto",
            "tokens_per_block": spec.tokens_per_block,
        },
        "scheduler_config": {
            "capacity_scheduler_policy": "STATIC_BATCH"
            if static
            else _POLICIES[serving.scheduler_policy]
        },
    }
    if parse_version(version) >= _PERF_METRICS_SINCE:
        arguments["return_perf_metrics"] = True
    check_keywords("LLM", version, arguments)
    return arguments
