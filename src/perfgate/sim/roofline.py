"""The throughput no engine can exceed on a GPU: perfect kernels, no overhead, no waiting."""

from __future__ import annotations

from dataclasses import dataclass

from perfgate.hardware import HardwareProfile
from perfgate.model import EngineSpec, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """What memory bandwidth and what arithmetic allow, each on its own, in tokens/s."""

    memory_tok_s: float
    compute_tok_s: float

    @property
    def tok_s(self) -> float:
        """The lower of the two: no engine is faster."""
        return min(self.memory_tok_s, self.compute_tok_s)

    @property
    def by_memory(self) -> bool:
        """Whether memory bandwidth is the bound."""
        return self.memory_tok_s <= self.compute_tok_s


def roofline(profile: HardwareProfile, engine: EngineSpec, workload: Workload) -> Roof:
    """Upper bounds of the output token throughput.

    With b = min(concurrency, max_batch_size) requests running, an average iteration yields b
    tokens and takes at least

        max((weights + KV read) / peak bandwidth, 2 x parameters x tokens / peak FLOP/s)

    where each request caches isl + osl / 2 tokens on average and its prompt is spread over osl
    iterations. Williams, Waterman and Patterson, "Roofline", CACM 2009.
    """
    model = profile.require_simulation().model
    batch = min(workload.concurrency, engine.max_batch_size)
    generating = batch * (workload.osl - 1) / workload.osl
    cached = generating * (workload.isl + workload.osl / 2)
    tokens = generating + batch * workload.isl / workload.osl
    read = model.weight_bytes(engine.precision)
    read_kv = cached * model.kv_bytes_per_token(engine.precision)
    memory_s = (read + read_kv) / profile.bandwidth_bytes_per_s
    compute_s = 2 * model.gemm_parameters * tokens / profile.peak_flops[engine.precision]
    return Roof(memory_tok_s=batch / memory_s, compute_tok_s=batch / compute_s)
