"""The search space: what may be set, and that each candidate can be served."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.explore.space import MOST_CONCURRENCY
from perfgate.model import BatchingStrategy, Precision, SchedulerPolicy, Workload
from perfgate.sim.scheduler import Scheduler, SimRequest
from tests.unit.explore_samples import a_space, a_start

pytestmark = pytest.mark.unit

SPACE = a_space()


def in_range(one):
    """A value within a range."""
    if one.choices:
        return st.sampled_from(one.choices)
    return st.integers(one.low, one.high) if one.whole else st.floats(one.low, one.high)


candidates = st.fixed_dictionaries({name: in_range(one) for name, one in SPACE.ranges.items()})

concurrencies = st.integers(1, MOST_CONCURRENCY)


@given(candidates, concurrencies, st.sampled_from([(128, 128), (16, 8), (1, 1), (1500, 500)]))
def test_every_candidate_can_run_every_request(values, concurrency, lengths):
    """Nothing within the ranges is refused by the scheduler: no trial is wasted on that."""
    load = Workload(concurrency=8, isl=lengths[0], osl=lengths[1])
    space = a_space(start=replace(a_start(), workload=load))
    point = space.point(space.settings(values, concurrency))
    scheduler = Scheduler(point.engine, point.serving, vocab_size=2)
    load = point.workload

    scheduler.submit(SimRequest(id=0, prompt_tokens=load.isl, max_tokens=load.osl))
    assert scheduler.next_step() is not None


@given(candidates, concurrencies)
def test_searched_values_lead_back_to_the_candidate(values, concurrency):
    """A candidate's values are its settings in other words."""
    settings = SPACE.settings(values, concurrency)

    assert SPACE.settings(SPACE.values(settings), concurrency) == settings


@given(candidates, concurrencies)
def test_no_candidate_asks_for_more_memory_than_there_is(values, concurrency):
    """Weights and KV cache fit the GPU at either precision."""
    settings = SPACE.settings(values, concurrency)
    model, memory = SPACE.profile.simulation.model, SPACE.profile.memory_bytes
    kv = settings.kv_cache_tokens * model.kv_bytes_per_token(settings.precision)

    assert model.weight_bytes(settings.precision) + kv < memory


def test_the_point_as_it_is_served_is_a_candidate():
    """The search can begin where the suite stands; name and sampling are the search's own."""
    start = a_start()
    point = SPACE.point(SPACE.settings_of(start))

    assert (point.engine, point.serving, point.workload) == (
        start.engine,
        start.serving,
        start.workload,
    )
    values = SPACE.values(SPACE.settings_of(start))
    assert {name: one.nearest(values[name]) for name, one in SPACE.ranges.items()} == values


def test_prompt_and_answer_lengths_stay_those_of_the_point():
    """The load is given: only its concurrency is searched."""
    start = replace(a_start(), workload=Workload(concurrency=8, isl=64, osl=16, seed=7))
    space = a_space(start=start)
    chosen = space.settings_of(start)

    load = space.point(replace(chosen, concurrency=9)).workload
    assert load == Workload(concurrency=9, isl=64, osl=16, seed=7)


def test_hardware_without_a_model_keeps_its_kv_cache():
    """What is not known to fit is not tried."""
    space = a_space(profile=replace(SPACE.profile, simulation=None))

    assert space.most_kv_tokens == a_start().serving.kv_cache_tokens


@pytest.mark.parametrize("precision", Precision)
def test_candidates_that_differ_have_names_that_differ(precision):
    """Records of two candidates never share a file."""
    one = replace(SPACE.settings_of(a_start()), precision=precision)
    others = [
        replace(one, max_num_tokens=4096),
        replace(one, tokens_per_block=64),
        replace(one, chunked_context=True),
        replace(one, max_batch_size=200),
        replace(one, concurrency=100),
        replace(one, kv_cache_tokens=70000),
        replace(one, batching=BatchingStrategy.STATIC),
        replace(one, scheduler_policy=SchedulerPolicy.MAX_UTILIZATION),
    ]

    assert len({SPACE.point(settings).id for settings in (one, *others)}) == 9
