"""Why a range ends: the reason follows from the evidence."""

from dataclasses import replace

import pytest

from perfgate.measure.limits import Limit, limit_between
from perfgate.model import Attribution, Phase, ResourceUse, SchedulerPolicy
from tests.unit.factories import a_measurement, a_point

pytestmark = pytest.mark.unit


def at(concurrency, *, p50_s, tpot_s=0.05, phases=None, use=None, kv_tokens=65536, policy=None):
    """A measurement at a concurrency, with what its server and its stamps say."""
    point = a_point(concurrency=concurrency)
    serving = replace(point.serving, kv_cache_tokens=kv_tokens)
    if policy:
        serving = replace(serving, scheduler_policy=policy)
    found = a_measurement(replace(point, serving=serving), p50_s=p50_s, tpot_s=tpot_s)
    told = phases and Attribution(requests=9, latency_s=p50_s, decode_steps=127, phases_s=phases)
    return replace(found, resources=use, attribution=told)


def using(*, active, waiting, kv=0.5):
    """What a server reports."""
    return ResourceUse(samples=9, active_mean=active, waiting_mean=waiting, kv_cache_peak=kv)


INSIDE = at(160, p50_s=6.7)


@pytest.mark.parametrize("active", [256.0, 192.0, None], ids=["all", "running", "silent"])
def test_a_full_batch_with_requests_waiting(active):
    """Whether a server counts the waiting as active or not, the batch is seen to be full."""
    beyond = at(256, p50_s=10.2, use=using(active=active, waiting=64.0))
    reason = limit_between(INSIDE, beyond, by_memory=True)

    assert reason.limit is Limit.BATCH_FULL
    assert "192 run and 64 wait" in reason.evidence


def test_a_full_kv_cache_is_not_taken_for_a_full_batch():
    """The cache holds 100 whole requests, and that many run while others wait."""
    beyond = at(256, p50_s=12.0, use=using(active=256.0, waiting=156.0, kv=0.8), kv_tokens=25600)
    reason = limit_between(INSIDE, beyond, by_memory=True)

    assert reason.limit is Limit.KV_CACHE_FULL
    assert "it holds 100 whole requests" in reason.evidence


@pytest.mark.parametrize(("kv", "limit"), [(0.99, Limit.KV_CACHE_FULL), (0.6, Limit.QUEUE)])
def test_with_eviction_the_caches_own_gauge_decides(kv, limit):
    """Where requests may be evicted, more than whole ones fit: only a full cache is full."""
    use = using(active=256.0, waiting=100.0, kv=kv)
    policy = SchedulerPolicy.MAX_UTILIZATION

    beyond = at(256, p50_s=12.0, use=use, kv_tokens=25600, policy=policy)
    assert limit_between(INSIDE, beyond, by_memory=True).limit is limit


def test_requests_that_wait_for_nothing_that_is_full():
    """Batch and cache have room, yet requests wait."""
    beyond = at(256, p50_s=12.0, use=using(active=256.0, waiting=156.0))

    assert limit_between(INSIDE, beyond, by_memory=True).limit is Limit.QUEUE


@pytest.mark.parametrize(
    ("by_memory", "limit"),
    [(True, Limit.BANDWIDTH), (False, Limit.COMPUTE), (None, Limit.UNKNOWN)],
)
def test_longer_iterations_are_bounded_as_the_roofline_says(by_memory, limit):
    """Nothing waits and decode grew: the roofline's binding side, or honestly unknown."""
    inside = at(160, p50_s=6.7, tpot_s=0.051, phases={Phase.QUEUE: 0.1, Phase.DECODE: 6.6})
    beyond = at(
        192,
        p50_s=7.4,
        tpot_s=0.057,
        phases={Phase.QUEUE: 0.1, Phase.DECODE: 7.3},
        use=using(active=191.0, waiting=0.0),
    )
    reason = limit_between(inside, beyond, by_memory=by_memory)

    assert reason.limit is limit
    assert "nothing waits" in reason.evidence
    assert "57.0 ms a token instead of 51.0 ms" in reason.evidence


def test_a_queue_is_seen_in_the_stamps_of_a_server_without_gauges():
    """A remote server shows no gauges: the phase that grew tells."""
    inside = at(160, p50_s=6.7, phases={Phase.QUEUE: 0.1, Phase.DECODE: 6.6})
    beyond = at(256, p50_s=10.2, phases={Phase.QUEUE: 3.3, Phase.DECODE: 6.9})

    assert limit_between(inside, beyond, by_memory=True).limit is Limit.QUEUE


def test_time_outside_the_engine_is_not_blamed_on_it():
    """Triton or the network took the time."""
    inside = at(160, p50_s=6.7, phases={Phase.DECODE: 6.6, Phase.WAY_BACK: 0.1})
    beyond = at(192, p50_s=8.7, phases={Phase.DECODE: 6.7, Phase.WAY_BACK: 2.0})
    reason = limit_between(inside, beyond, by_memory=True)

    assert reason.limit is Limit.OUTSIDE
    assert "way-back takes 2 s instead of 0.1 s" in reason.evidence


def test_a_server_that_tells_nothing_is_read_off_the_client():
    """Without stamps: a later first token is a queue, a slower one after it is the iteration."""
    first = replace(at(192, p50_s=8.7), ttft_s=replace(INSIDE.ttft_s, mean=2.4))
    later = at(192, p50_s=8.7, tpot_s=0.066)

    assert limit_between(INSIDE, first, by_memory=True).limit is Limit.QUEUE
    assert limit_between(INSIDE, later, by_memory=True).limit is Limit.BANDWIDTH
