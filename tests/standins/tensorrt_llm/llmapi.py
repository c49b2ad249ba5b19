"""The configuration classes of the LLM API: unknown fields are refused, as upstream's are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CapacitySchedulerPolicy(StrEnum):
    """How requests are admitted."""

    MAX_UTILIZATION = "MAX_UTILIZATION"
    GUARANTEED_NO_EVICT = "GUARANTEED_NO_EVICT"
    STATIC_BATCH = "STATIC_BATCH"


@dataclass(kw_only=True)
class KvCacheConfig:
    """The KV cache."""

    enable_block_reuse: bool = True
    max_tokens: int | None = None
    max_attention_window: list[int] | None = None
    free_gpu_memory_fraction: float | None = 0.9
    host_cache_size: int | None = None
    dtype: str = "auto"
    tokens_per_block: int = 32


@dataclass(kw_only=True)
class SchedulerConfig:
    """The scheduler."""

    capacity_scheduler_policy: CapacitySchedulerPolicy = CapacitySchedulerPolicy.GUARANTEED_NO_EVICT
