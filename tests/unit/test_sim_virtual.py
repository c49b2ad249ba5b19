"""The closed loop in virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfgate.errors import NoSamplesError, UsageError
from perfgate.model import RequestStatus, Workload
from perfgate.sim.cost import cost_model
from perfgate.sim.scheduler import ContextChunk, Step
from perfgate.sim.virtual import simulate, steady_state
from tests.unit.sim_samples import a_profile, a_serving, an_engine

pytestmark = pytest.mark.unit


def a_run(*, concurrency=4, isl=32, osl=32, requests=40, turnaround_s=0.0005, **engine):
    """A run on the toy GPU, whose steps take a little over a millisecond."""
    return simulate(
        an_engine(**engine),
        a_serving(),
        Workload(concurrency=concurrency, isl=isl, osl=osl),
        a_profile(),
        requests=requests,
        turnaround_s=turnaround_s,
    )


@given(isl=st.integers(1, 256), osl=st.integers(1, 40))
def test_a_request_alone_takes_what_the_cost_model_says(isl, osl):
    """With one client a request's latency is the sum of its own iterations' costs."""
    run = a_run(concurrency=1, isl=isl, osl=osl, requests=3)
    cost = cost_model(a_profile(), an_engine()).step_seconds
    prompt = (ContextChunk(request_id=0, tokens=isl, past=0),)
    steps = [Step(iteration=1, context=prompt, generation=())]
    steps += [Step(iteration=1, context=(), generation=(isl + i,)) for i in range(1, osl)]

    expected_ns = sum(round(cost(step) * 1e9) for step in steps)

    for record in run.records[:3]:
        assert record.server.last_token_ns - record.server.arrival_ns == expected_ns
        assert record.finished_ns - record.sent_ns == expected_ns + 500_000


@settings(max_examples=30)
@given(
    concurrency=st.integers(1, 12),
    osl=st.integers(1, 30),
    turnaround_s=st.sampled_from([0.0, 0.0005, 0.05]),
)
def test_the_records_are_those_of_a_closed_loop(concurrency, osl, turnaround_s):
    """Each client has one request at a time, and gets the tokens it asked for."""
    run = a_run(concurrency=concurrency, osl=osl, turnaround_s=turnaround_s, requests=50)

    assert [record.index for record in run.records] == list(range(len(run.records)))
    assert sum(record.status is RequestStatus.OK for record in run.records) >= 50
    for slot in range(concurrency):
        mine = [record for record in run.records if record.client == slot]
        assert mine[0].expected_output_tokens == max(1, round(osl * (slot + 1) / concurrency))
        for before, after in pairwise(mine):
            assert after.sent_ns == after.due_ns == before.finished_ns
            assert after.expected_output_tokens == osl
        for record in mine[:-1]:
            assert record.output_tokens == record.expected_output_tokens
            assert record.finished_ns == record.arrivals_ns[-1] == record.server.last_token_ns
        assert mine[-1].status is RequestStatus.UNFINISHED


def test_littles_law_holds():
    """Throughput x latency = concurrency x output length."""
    steady = steady_state(a_run(requests=400))

    product = steady.throughput_tok_s * steady.latency_p50_s
    assert product == pytest.approx(4 * 32, rel=0.005)


def test_a_request_waits_for_the_iteration_it_missed():
    """A turnaround within an iteration costs each request that iteration's rest."""
    immediate = steady_state(a_run(turnaround_s=0.0, requests=400)).throughput_tok_s
    late = steady_state(a_run(turnaround_s=0.0001, requests=400)).throughput_tok_s
    later = steady_state(a_run(turnaround_s=0.0009, requests=400)).throughput_tok_s

    assert late == pytest.approx(immediate * 32 / 33, rel=0.01)
    assert later == pytest.approx(late, rel=0.001)


def test_a_batch_smaller_than_the_load_queues():
    """Requests beyond max_batch_size wait, and their latency shows it."""
    wide = steady_state(a_run(concurrency=8, requests=200))
    narrow = steady_state(a_run(concurrency=8, requests=200, max_batch_size=4))

    assert narrow.latency_p50_s > 1.8 * wide.latency_p50_s


def test_the_same_seed_gives_the_same_run():
    """Virtual time leaves nothing to chance."""
    assert a_run() == a_run()


def test_a_run_that_only_fills_the_engine_is_refused():
    """The shortened first requests are no measurement."""
    with pytest.raises(UsageError, match="requests: got 4"):
        a_run(requests=4)


def test_too_few_requests_are_no_steady_state():
    """No number is made up: no steady request is an error, few of them have no P95."""
    with pytest.raises(NoSamplesError, match="ask for more requests"):
        steady_state(a_run(requests=5))
    assert steady_state(a_run(requests=40)).latency_p95_s is None
    assert steady_state(a_run(requests=80)).latency_p95_s is not None
