"""The simulated engine's gauges have TensorRT-LLM's names and the scheduler's values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.serving.simulated.gauges import Series, Utilisation, gauges
from perfgate.sim.scheduler import SchedulerStats

pytestmark = pytest.mark.unit

NAMES = {
    "nv_trt_llm_request_metrics": {"active", "max", "scheduled", "context", "waiting"},
    "nv_trt_llm_kv_cache_block_metrics": {
        "max",
        "free",
        "used",
        "tokens_per",
        "reused",
        "fraction",
    },
    "nv_trt_llm_inflight_batcher_metrics": {
        "total_context_tokens",
        "generation_requests",
        "micro_batch_id",
        "paused_requests",
    },
    "nv_trt_llm_general_metrics": {"timestamp", "iteration_counter"},
}
LABELS = {
    "nv_trt_llm_request_metrics": "request_type",
    "nv_trt_llm_kv_cache_block_metrics": "kv_cache_block_type",
    "nv_trt_llm_inflight_batcher_metrics": "inflight_batcher_specific_metric",
    "nv_trt_llm_general_metrics": "general_type",
}
STATS = SchedulerStats(
    **{name: number for number, name in enumerate(SchedulerStats.__dataclass_fields__, start=11)}
)


def test_families_labels_and_categories_are_upstream_s():
    """So that dashboards and checks need not know what stands behind."""
    found = {}
    for series in gauges(STATS, now_us=1):
        found.setdefault(series.family, set()).add(series.category)
        assert series.label == LABELS[series.family]

    assert found == NAMES


@pytest.mark.parametrize(
    ("category", "field"),
    [
        ("active", "active"),
        ("scheduled", "scheduled"),
        ("context", "context"),
        ("waiting", "waiting"),
        ("free", "kv_blocks_free"),
        ("used", "kv_blocks_used"),
        ("tokens_per", "tokens_per_block"),
        ("total_context_tokens", "context_tokens"),
        ("generation_requests", "generation"),
        ("paused_requests", "paused"),
        ("iteration_counter", "iteration"),
    ],
)
def test_each_gauge_shows_its_own_number(category, field):
    """No two are mixed up."""
    (value,) = [v for series, v in gauges(STATS, now_us=1).items() if series.category == category]

    assert value == getattr(STATS, field)


def test_the_share_of_used_blocks_and_the_wall_clock():
    """The two that are computed."""
    values = {(s.family, s.category): v for s, v in gauges(STATS, now_us=77).items()}

    share = STATS.kv_blocks_used / STATS.kv_blocks_max
    assert values["nv_trt_llm_kv_cache_block_metrics", "fraction"] == share
    assert values["nv_trt_llm_general_metrics", "timestamp"] == 77
    assert Series("x").label == ""


@given(st.floats(0, 1), st.integers(2, 40))
def test_utilisation_is_the_busy_share_of_the_last_second(share, samples):
    """A steady load shows as its share, whatever was long before."""
    step_ns = 100_000_000
    utilisation = Utilisation()
    assert utilisation.update(0, 0) == 0.0
    for tick in range(1, samples):
        told = utilisation.update(tick * step_ns, int(tick * step_ns * share))

        assert told == pytest.approx(share, abs=1e-6)


def test_an_idle_second_forgets_a_busy_one():
    """After a second without work the share is zero again, and it is never above one."""
    utilisation = Utilisation()
    utilisation.update(0, 0)
    assert utilisation.update(10**9, 2 * 10**9) == 1.0
    for tick in range(11, 22):
        told = utilisation.update(tick * 10**8, 2 * 10**9)

    assert told == 0.0
