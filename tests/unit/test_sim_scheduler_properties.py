"""Invariants of the scheduler, whatever arrives, is cancelled or runs out."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.model import BatchingStrategy, SchedulerPolicy
from perfgate.sim.scheduler import Scheduler, SimRequest
from perfgate.sim.tokens import draw_output
from tests.unit.sim_samples import a_serving, an_engine

pytestmark = pytest.mark.unit

VOCAB = 7
BLOCK = 4
BUDGET = 48
SLOTS = 3

# Small enough that slots, blocks and the token budget all run out.
ENGINE = an_engine(max_batch_size=SLOTS, max_num_tokens=BUDGET, tokens_per_block=BLOCK)
SERVINGS = st.builds(
    a_serving,
    kv_cache_tokens=st.just(48),
    scheduler_policy=st.sampled_from(SchedulerPolicy),
    batching=st.sampled_from(BatchingStrategy),
    chunked_context=st.booleans(),
)
REQUESTS = st.lists(
    st.builds(
        SimRequest,
        id=st.just(0),
        prompt_tokens=st.integers(1, 24),
        max_tokens=st.integers(1, 24),
        min_tokens=st.integers(0, 6),
        end_id=st.none() | st.integers(0, VOCAB - 1),
        seed=st.integers(0, 100),
    ),
    min_size=1,
    max_size=8,
).map(lambda requests: [dataclasses.replace(r, id=i) for i, r in enumerate(requests)])
TICKS = st.lists(st.integers(0, 12), min_size=8, max_size=8)
CANCELS = st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 30), st.booleans()))


class Watched:
    """A scheduler that is checked at every iteration; an iteration without work is a tick too."""

    def __init__(self, serving):
        self.serving = serving
        self.scheduler = Scheduler(ENGINE, serving, vocab_size=VOCAB)
        self.tokens = {}
        self.finals = []
        self.started = []
        self._arrived = []
        self._cached = {}

    def run(self, requests, ticks, cancels):
        """Let requests arrive and be cancelled at their ticks, until nothing is left."""
        arrivals = sorted(zip(ticks, requests, strict=False), key=lambda arrival: arrival[0])
        for tick in range(3000):
            while arrivals and arrivals[0][0] <= tick:
                self._arrived.append(arrivals[0][1].id)
                self.scheduler.submit(arrivals.pop(0)[1])
            if not self.step(tick, cancels) and not arrivals:
                return self
        pytest.fail("a request starves")

    def step(self, tick, cancels):
        """One iteration, with cancellations before it and in its middle."""
        self._cancel(cancels, (tick, False))
        step = self.scheduler.next_step()
        if step is None:
            assert self.scheduler.stats().active == 0, "idle, though something waits"
            return False
        self._check_capacity(step)
        self._check_order()
        self._check_contexts(step)
        self._cancel(cancels, (tick, True))
        self._collect(self.scheduler.finish_step(step))
        self._check_blocks()
        return True

    def _cancel(self, cancels, moment):
        for request_id, when in cancels.items():
            if when == moment:
                self.scheduler.cancel(request_id)

    def _check_capacity(self, step):
        stats = self.scheduler.stats()
        assert stats.scheduled <= stats.active - stats.waiting <= SLOTS
        assert 0 < step.context_tokens + len(step.generation) <= BUDGET

    def _check_order(self):
        """Whatever was paused, all that run arrived before all that wait."""
        places = (*self.scheduler._running, *self.scheduler._waiting)
        order = [self._arrived.index(sequence.request.id) for sequence in places]
        assert order == sorted(order)

    def _check_contexts(self, step):
        """Chunks of a context follow one another, in whole blocks up to the last."""
        for chunk in step.context:
            if chunk.past == 0 and chunk.request_id not in self._cached:
                self.started.append(chunk.request_id)
            assert chunk.past in (0, self._cached.get(chunk.request_id, 0))
            assert chunk.past % BLOCK == 0
            assert self.serving.chunked_context or chunk.past == 0
            self._cached[chunk.request_id] = chunk.past + chunk.tokens

    def _collect(self, emissions):
        assert len({e.request_id for e in emissions}) == len(emissions)
        for emission in emissions:
            assert emission.request_id not in self.finals
            assert len(emission.tokens) == 1 or emission.final
            self.tokens.setdefault(emission.request_id, []).extend(emission.tokens)
            if emission.final:
                self.finals.append(emission.request_id)

    def _check_blocks(self):
        pool = self.scheduler._pool
        owned = [block for table in pool.tables.values() for block in table]
        assert len(owned) == len(set(owned)) == pool.capacity - pool.free
        for sequence in self.scheduler._running:
            held = len(pool.tables[sequence.request.id]) * BLOCK
            assert sequence.cached <= held
        assert set(pool.tables) == {s.request.id for s in self.scheduler._running}


def said(request):
    """What the model says to a request, whatever the schedule."""
    return list(
        draw_output(
            seed=request.seed,
            max_tokens=request.max_tokens,
            vocab_size=VOCAB,
            end_id=request.end_id,
            min_tokens=request.min_tokens,
        ).tokens
    )


@given(SERVINGS, REQUESTS, TICKS)
def test_no_token_is_lost_created_or_reordered(serving, requests, ticks):
    """Every request gets its own tokens, with or without chunks, pauses and static batches."""
    watched = Watched(serving).run(requests, ticks, {})

    assert watched.tokens == {request.id: said(request) for request in requests}
    assert sorted(watched.finals) == [request.id for request in requests]
    assert watched.scheduler.stats().kv_blocks_used == 0


@given(SERVINGS, REQUESTS, TICKS, CANCELS)
def test_cancelling_at_any_time_leaves_nothing_behind(serving, requests, ticks, cancels):
    """What is not cancelled is served whole; what is leaves no block and no more tokens."""
    watched = Watched(serving).run(requests, ticks, cancels)

    for request in requests:
        tokens = watched.tokens.get(request.id, [])
        assert tokens == said(request)[: len(tokens)]
        assert request.id in watched.finals or request.id in cancels
    assert watched.scheduler.stats().kv_blocks_used == 0
    assert watched.scheduler._reserved == 0


@given(SERVINGS, REQUESTS)
def test_requests_start_in_order_of_arrival(serving, requests):
    """First come, first served: nobody overtakes, so nobody starves."""
    watched = Watched(serving).run(requests, [0] * 8, {})

    assert watched.started == [request.id for request in requests]


@given(REQUESTS, TICKS, st.sampled_from(BatchingStrategy))
def test_no_evict_never_pauses(requests, ticks, batching):
    """Under guaranteed_no_evict every context runs once."""
    watched = Watched(a_serving(kv_cache_tokens=48, batching=batching))
    watched.scheduler._pause = lambda sequence: pytest.fail(f"paused {sequence.request}")

    watched.run(requests, ticks, {})


def test_the_limits_bite():
    """The scheduler under test does run out of blocks: the properties are not vacuous."""
    serving = a_serving(
        kv_cache_tokens=48,
        scheduler_policy=SchedulerPolicy.MAX_UTILIZATION,
        chunked_context=True,
    )
    watched = Watched(serving)
    paused = []
    pause = watched.scheduler._pause
    watched.scheduler._pause = lambda sequence: (paused.append(sequence), pause(sequence))
    requests = [SimRequest(id=i, prompt_tokens=20, max_tokens=24) for i in range(4)]

    watched.run(requests, [0] * 4, {})

    assert paused
