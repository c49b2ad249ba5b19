"""The throughput no engine can exceed on a GPU: perfect kernels, no overhead, no waiting."""

from __future__ import annotations

from perfgate.hardware import HardwareProfile
from perfgate.model import EngineSpec, Workload


def roofline(profile: HardwareProfile, engine: EngineSpec, workload: Workload) -> float:
    """Upper bound of the output token throughput in tokens/s.

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
    return batch / max(memory_s, compute_s)
