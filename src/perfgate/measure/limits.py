"""Why more concurrency stops paying: what server and stamps say of two points of a curve."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perfgate.measure.explain import explain_change
from perfgate.model import Measurement, Phase, SchedulerPolicy

_FULL = 0.98  # of a limit, on average over the window
_KV_FULL = 0.95
_WAITING = 1.0  # requests, on average: fewer come and go within an iteration


class Limit(StrEnum):
    """What ends an operating range."""

    BATCH_FULL = "batch full"
    KV_CACHE_FULL = "KV cache full"
    QUEUE = "queue"
    BANDWIDTH = "memory bandwidth"
    COMPUTE = "compute"
    OUTSIDE = "outside the engine"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What holds the server back, and the evidence in words."""

    limit: Limit
    evidence: str


def limit_between(inside: Measurement, beyond: Measurement, *, by_memory: bool | None) -> Reason:
    """Say why `beyond`, at a higher concurrency of the same engine, answers later than `inside`.

    Where requests wait, the server's gauges say for what. Where none waits, the phase that grew
    most does, and for decode the roofline's binding side: `by_memory`, None where it is unknown.
    """
    use = beyond.resources
    waiting = use.waiting_mean if use else None
    if use is not None and waiting is not None and waiting >= _WAITING:
        return _of_waiting(beyond, waiting, use.active_mean, use.kv_cache_peak)
    phase, words = _grown(inside, beyond)
    if waiting is not None and phase is not None:
        words = f"nothing waits, {words}"
    match phase:
        case Phase.QUEUE:
            return Reason(limit=Limit.QUEUE, evidence=f"{words}: requests wait for the engine")
        case Phase.DECODE | Phase.PREFILL:
            return Reason(limit=_of_step(by_memory), evidence=f"{words}{_step(by_memory)}")
        case None:
            return Reason(limit=Limit.UNKNOWN, evidence=words)
        case _:
            return Reason(limit=Limit.OUTSIDE, evidence=f"{words}, which is not the engine's time")


def _of_waiting(
    beyond: Measurement, waiting: float, active: float | None, kv_cache: float | None
) -> Reason:
    most = beyond.point.engine.max_batch_size
    running = _running(beyond, waiting, active)
    said = f"{running:.4g} run and {waiting:.4g} wait on average"
    if running >= _FULL * most:
        return Reason(
            limit=Limit.BATCH_FULL, evidence=f"the batch is full: {said}, max_batch_size is {most}"
        )
    fit = _fit_the_kv_cache(beyond)
    if beyond.point.serving.scheduler_policy is SchedulerPolicy.GUARANTEED_NO_EVICT:
        full = running >= _FULL * fit
    else:
        full = kv_cache is not None and kv_cache >= _KV_FULL
    if full:
        return Reason(
            limit=Limit.KV_CACHE_FULL,
            evidence=f"the KV cache is full: {said}, it holds {fit} whole requests",
        )
    return Reason(
        limit=Limit.QUEUE,
        evidence=f"requests queue: {said}, though max_batch_size is {most} and the KV cache holds"
        f" {fit} whole requests",
    )


def _running(beyond: Measurement, waiting: float, active: float | None) -> float:
    """Requests in the batch: servers count as active either these or all that they hold.

    Those in flight hold some that are on their way, so a batch cannot be fuller than it is allowed.
    """
    most = float(beyond.point.engine.max_batch_size)
    inside = min(max(beyond.mean_in_flight - waiting, 0.0), most)
    return inside if active is None else min(active, inside)


def _fit_the_kv_cache(measurement: Measurement) -> int:
    """Whole requests that the KV cache holds, which is what admission without eviction counts."""
    engine, load = measurement.point.engine, measurement.point.workload
    blocks = -(-(load.isl + load.osl) // engine.tokens_per_block)
    return measurement.point.serving.kv_cache_tokens // engine.tokens_per_block // blocks


def _grown(inside: Measurement, beyond: Measurement) -> tuple[Phase | None, str]:
    """The phase in which most of the latency's growth lies, and by how much it grew."""
    change = explain_change(inside, beyond)
    if change.latency <= 0:
        return None, "requests take no longer"
    if change.changes:
        grown = max(change.changes, key=lambda one: one.share)
        if grown.phase is Phase.DECODE:
            return Phase.DECODE, _per_token(inside, beyond)
        before, after = grown.before_s, grown.after_s
        return grown.phase, f"{grown.phase} takes {after:.3g} s instead of {before:.3g} s"
    first = beyond.ttft_s.mean - inside.ttft_s.mean
    if 2 * first > beyond.latency_s.mean - inside.latency_s.mean:
        before, after = inside.ttft_s.mean, beyond.ttft_s.mean
        return Phase.QUEUE, f"the first token comes after {after:.3g} s instead of {before:.3g} s"
    return Phase.DECODE, _per_token(inside, beyond)


def _per_token(inside: Measurement, beyond: Measurement) -> str:
    if inside.tpot_s is None or beyond.tpot_s is None:
        return "each iteration takes longer"
    before, after = inside.tpot_s.mean * 1e3, beyond.tpot_s.mean * 1e3
    return f"each iteration takes longer: {after:.1f} ms a token instead of {before:.1f} ms"


def _of_step(by_memory: bool | None) -> Limit:  # noqa: FBT001 - three-valued, as the roofline is
    return {None: Limit.UNKNOWN, True: Limit.BANDWIDTH, False: Limit.COMPUTE}[by_memory]


def _step(by_memory: bool | None) -> str:  # noqa: FBT001 - likewise
    return {
        None: "",
        True: "; by the roofline, memory bandwidth bounds it",
        False: "; by the roofline, arithmetic bounds it",
    }[by_memory]
