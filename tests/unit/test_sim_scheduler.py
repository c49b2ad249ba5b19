"""The in-flight batching scheduler: examples of each rule, then its invariants."""

from __future__ import annotations

import pytest

from perfgate.errors import UsageError
from perfgate.model import BatchingStrategy, SchedulerPolicy
from perfgate.sim.scheduler import ContextChunk, Scheduler, SimRequest
from perfgate.sim.tokens import draw_output
from tests.unit.sim_samples import a_serving, an_engine

pytestmark = pytest.mark.unit

MAX_UTILIZATION = SchedulerPolicy.MAX_UTILIZATION
VOCAB = 7


def a_scheduler(*, kv=1024, policy=None, chunked=False, batching=None, **engine):
    """A scheduler over the small engine, with what the test is about."""
    serving = a_serving(
        kv_cache_tokens=kv,
        scheduler_policy=policy or SchedulerPolicy.GUARANTEED_NO_EVICT,
        batching=batching or BatchingStrategy.INFLIGHT,
        chunked_context=chunked,
    )
    return Scheduler(an_engine(**engine), serving, vocab_size=VOCAB)


def submitted(scheduler, *sizes):
    """Submit requests of (prompt, output) sizes with ids from 0."""
    for request_id, (prompt, output) in enumerate(sizes):
        request = SimRequest(id=request_id, prompt_tokens=prompt, max_tokens=output)
        scheduler.submit(request)
    return scheduler


def steps_of(scheduler, limit=1000):
    """Run to the end; (step, emissions) of each iteration."""
    ran = []
    while (step := scheduler.next_step()) is not None:
        ran.append((step, scheduler.finish_step(step)))
        assert len(ran) < limit
    return ran


def context_ids(step):
    """Ids of the requests whose context runs."""
    return [chunk.request_id for chunk in step.context]


def test_context_yields_the_first_token_and_generation_the_others():
    """A request of n tokens takes n iterations; each reads one cached token more."""
    ran = steps_of(submitted(a_scheduler(), (10, 3)))

    assert [step.generation for step, _ in ran] == [(), (11,), (12,)]
    assert ran[0][0].context == (ContextChunk(request_id=0, tokens=10, past=0),)
    assert [len(emitted[0].tokens) for _, emitted in ran] == [1, 1, 1]
    assert [emitted[0].final for _, emitted in ran] == [False, False, True]


def test_a_request_joins_the_running_batch():
    """In-flight batching runs a new context beside the generation of others."""
    scheduler = submitted(a_scheduler(), (10, 5))
    scheduler.finish_step(scheduler.next_step())
    scheduler.submit(SimRequest(id=9, prompt_tokens=20, max_tokens=1))

    step = scheduler.next_step()

    assert (context_ids(step), step.generation) == ([9], (11,))


def test_a_static_batch_waits_until_the_last_has_drained():
    """With V1 batching nobody joins a running batch."""
    scheduler = a_scheduler(batching=BatchingStrategy.STATIC, max_batch_size=2)
    ran = steps_of(submitted(scheduler, (8, 2), (8, 4), (8, 1)))

    assert [context_ids(step) for step, _ in ran] == [[0, 1], [], [], [], [2]]


def test_the_batch_is_bounded_by_slots():
    """No iteration holds more requests than max_batch_size."""
    scheduler = submitted(a_scheduler(max_batch_size=2), (4, 2), (4, 2), (4, 2))

    assert [context_ids(step) for step, _ in steps_of(scheduler)] == [[0, 1], [], [2], []]


def test_contexts_are_bounded_by_the_token_budget():
    """Without chunks a prompt that does not fit the iteration waits whole."""
    scheduler = submitted(a_scheduler(max_num_tokens=20), (15, 2), (15, 2))

    assert [context_ids(step) for step, _ in steps_of(scheduler)] == [[0], [1], []]


def test_generation_stays_within_the_token_budget():
    """Where tokens run out before slots, new contexts wait for generation to end."""
    ran = steps_of(submitted(a_scheduler(max_num_tokens=2), (1, 9), (1, 9), (1, 9), (1, 9)))

    assert max(len(step.generation) + step.context_tokens for step, _ in ran) == 2
    assert [e.request_id for _, out in ran for e in out if e.final] == [0, 1, 2, 3]


def test_chunked_context_fills_the_token_budget():
    """With chunks the budget is used, in whole blocks but for a prompt's last chunk."""
    scheduler = submitted(a_scheduler(max_num_tokens=22, chunked=True), (15, 2), (15, 2))

    chunks = [chunk for step, _ in steps_of(scheduler) for chunk in step.context]

    assert [(c.request_id, c.tokens, c.past) for c in chunks] == [(0, 15, 0), (1, 4, 0), (1, 11, 4)]


def test_no_evict_admits_only_what_fits_for_its_whole_life():
    """Two requests of 20 tokens do not share a cache of 32, even while they are short."""
    scheduler = submitted(a_scheduler(kv=32), (4, 16), (4, 16))

    assert context_ids(scheduler.next_step()) == [0]


def test_max_utilization_admits_them_and_pauses_the_youngest():
    """When blocks run out the last started request is paused, and starts over with all it said."""
    scheduler = submitted(a_scheduler(kv=32, policy=MAX_UTILIZATION), (4, 16), (4, 16))
    ran = steps_of(scheduler)
    together = [step for step, _ in ran if len(step.generation) == 2]
    contexts = [chunk for step, _ in ran for chunk in step.context]

    # Four blocks each: both hold the prompt and 12 tokens when the fifth block is asked for.
    assert len(together) == 12
    assert [(c.request_id, c.tokens) for c in contexts] == [(0, 4), (1, 4), (1, 4 + 13)]
    assert tokens_of(ran, 0) == tokens_of(ran, 1) == said(max_tokens=16)


def test_paused_requests_count_in_the_iteration_that_paused_them():
    """`paused` is 1 in one iteration, and 0 again in the next."""
    scheduler = submitted(a_scheduler(kv=32, policy=MAX_UTILIZATION), (4, 16), (4, 16))
    paused = []
    while (step := scheduler.next_step()) is not None:
        paused.append(scheduler.stats().paused)
        scheduler.finish_step(step)

    assert (sum(paused), max(paused), paused[-1]) == (1, 1, 0)


def said(**sizes):
    """What the model says whatever the schedule."""
    return draw_output(seed=0, vocab_size=VOCAB, **sizes).tokens


def tokens_of(ran, request_id):
    """All tokens of one request, in order of emission."""
    return tuple(
        token for _, out in ran for e in out if e.request_id == request_id for token in e.tokens
    )


def test_the_end_token_is_neither_sent_nor_counted():
    """A request that ends with the end token closes with an empty final emission."""
    spoken = draw_output(seed=3, max_tokens=30, vocab_size=VOCAB)
    end_id = spoken.tokens[4]
    scheduler = a_scheduler()
    scheduler.submit(SimRequest(id=0, prompt_tokens=4, max_tokens=30, end_id=end_id, seed=3))

    emissions = [e for _, out in steps_of(scheduler) for e in out]

    expected = spoken.tokens[: spoken.tokens.index(end_id)]
    assert tuple(token for e in emissions for token in e.tokens) == expected
    assert (emissions[-1].tokens, emissions[-1].final) == ((), True)


def test_cancelling_in_mid_iteration_silences_the_request():
    """A request cancelled while its iteration runs emits nothing and owns nothing."""
    scheduler = submitted(a_scheduler(), (4, 4), (4, 4))
    step = scheduler.next_step()

    assert scheduler.cancel(0)
    assert [e.request_id for e in scheduler.finish_step(step)] == [1]
    assert scheduler.stats().kv_blocks_used == 1
    assert not scheduler.cancel(0)


@pytest.mark.parametrize(
    ("sizes", "scheduler", "rule"),
    [
        ({"prompt_tokens": 0}, {}, "at least 1"),
        ({"max_tokens": 0}, {}, "at least 1"),
        ({"prompt_tokens": 257}, {}, r"256 \(max_input_len\)"),
        ({"prompt_tokens": 200, "max_tokens": 313}, {}, r"512 \(max_seq_len\)"),
        ({"prompt_tokens": 30, "max_tokens": 3}, {"kv": 35}, r"32 \(the whole KV cache\)"),
        ({"prompt_tokens": 33}, {"max_num_tokens": 32}, "32 .*without chunked context"),
        (
            {"prompt_tokens": 30, "max_tokens": 4},
            {"max_num_tokens": 32, "policy": MAX_UTILIZATION},
            "32 .*without chunked context",
        ),
    ],
    ids=["no-prompt", "no-output", "prompt", "sequence", "cache", "iteration", "restart"],
)
def test_a_request_that_can_never_run_is_refused(sizes, scheduler, rule):
    """Refusal happens at submit and names the limit."""
    request = SimRequest(**{"id": 0, "prompt_tokens": 1, "max_tokens": 1} | sizes)

    with pytest.raises(UsageError, match=rule):
        a_scheduler(**scheduler).submit(request)


def test_an_id_in_use_is_refused():
    """Two running requests cannot share an id."""
    scheduler = submitted(a_scheduler(), (4, 4))

    with pytest.raises(UsageError, match="id: got 0"):
        submitted(scheduler, (4, 4))


def test_chunks_below_a_block_are_refused():
    """Chunked context needs a token budget of a block at least."""
    with pytest.raises(UsageError, match="max_num_tokens: got 3"):
        a_scheduler(max_num_tokens=3, chunked=True)


def test_iterations_cannot_overlap():
    """Planning twice, or finishing another iteration, is a driver's mistake."""
    scheduler = submitted(a_scheduler(), (4, 2))
    step = scheduler.next_step()

    with pytest.raises(RuntimeError, match="not finished"):
        scheduler.next_step()
    scheduler.finish_step(step)
    with pytest.raises(RuntimeError, match="planned last"):
        scheduler.finish_step(step)


def test_stats_tell_requests_and_blocks():
    """Stats count as TensorRT-LLM's metrics do."""
    scheduler = submitted(a_scheduler(kv=32, max_batch_size=2), (9, 3), (4, 4), (4, 4))
    stats = scheduler.stats()
    assert (stats.active, stats.waiting, stats.scheduled) == (3, 3, 0)

    scheduler.next_step()
    stats = scheduler.stats()

    assert (stats.active, stats.waiting, stats.scheduled, stats.context) == (3, 1, 2, 2)
    assert (stats.kv_blocks_max, stats.kv_blocks_used, stats.kv_blocks_free) == (8, 4, 4)
    assert (stats.context_tokens, stats.iteration, stats.max_requests) == (13, 1, 2)
