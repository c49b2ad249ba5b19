"""The loop without a clock: when iterations start, and what each request's stamps say."""

from __future__ import annotations

import pytest

from perfgate.errors import UsageError
from perfgate.model import ServerTimings
from perfgate.sim.loop import EngineLoop
from perfgate.sim.scheduler import Scheduler, SimRequest
from tests.unit.sim_samples import a_serving, an_engine

pytestmark = pytest.mark.unit

STEP_NS = 10_000_000


def a_loop(*, chunked=False, **engine):
    """A loop whose iterations take 10 ms each."""
    serving = a_serving(chunked_context=chunked)
    scheduler = Scheduler(an_engine(**engine), serving, vocab_size=100)
    return EngineLoop(scheduler, lambda _: STEP_NS / 1e9)


def a_request(request_id=0, max_tokens=2):
    """A request of eight prompt tokens."""
    return SimRequest(id=request_id, prompt_tokens=8, max_tokens=max_tokens)


def test_an_idle_engine_starts_when_a_request_arrives():
    """The first iteration begins with the arrival, not with the engine's birth."""
    loop = a_loop()
    assert loop.begin() is None

    loop.submit(a_request(), at_ns=7)

    assert loop.begin() == 7 + STEP_NS


def test_what_arrives_during_an_iteration_waits_for_the_next():
    """An arrival joins the first iteration that starts after it, and one on the dot joins that."""
    loop = a_loop()
    loop.submit(a_request(0, max_tokens=3), at_ns=0)
    loop.begin()
    loop.submit(a_request(1), at_ns=STEP_NS)
    loop.submit(a_request(2), at_ns=STEP_NS + 1)
    loop.finish()

    assert loop.begin() == 2 * STEP_NS
    assert {e.request_id for e in loop.finish()} == {0, 1}
    assert loop.begin() == 3 * STEP_NS
    assert {e.request_id for e in loop.finish()} == {0, 1, 2}


def test_stamps_follow_a_request():
    """Arrival, first iteration, first and last token are stamped at the loop's own times."""
    loop = a_loop(max_batch_size=1)
    loop.submit(a_request(0, max_tokens=1), at_ns=0)
    loop.submit(a_request(1), at_ns=5)
    for _ in range(3):
        loop.begin()
        loop.finish()

    assert loop.timings(1) == ServerTimings(
        arrival_ns=5,
        first_scheduled_ns=STEP_NS,
        first_token_ns=2 * STEP_NS,
        last_token_ns=3 * STEP_NS,
    )
    assert (loop.busy_ns, loop.steps) == (3 * STEP_NS, 3)


def test_a_chunked_context_is_first_scheduled_with_its_first_chunk():
    """Later chunks of a context do not move the stamp."""
    loop = a_loop(chunked=True, max_num_tokens=4)
    loop.submit(a_request(max_tokens=1), at_ns=3)
    for _ in range(2):
        loop.begin()
        loop.finish()

    assert loop.timings(0).first_scheduled_ns == 3
    assert loop.timings(0).first_token_ns == 3 + 2 * STEP_NS


def test_stamps_are_kept_until_the_next_iteration_only():
    """A long-lived engine does not remember every request it served."""
    loop = a_loop()
    loop.submit(a_request(0, max_tokens=1), at_ns=0)
    loop.begin()
    loop.finish()
    loop.begin()

    with pytest.raises(KeyError):
        loop.timings(0)
    assert not loop._stamps


def test_a_running_request_has_no_timings_yet():
    """Timings before the end are a driver's mistake."""
    loop = a_loop()
    loop.submit(a_request(), at_ns=0)
    loop.begin()
    loop.finish()

    with pytest.raises(RuntimeError, match="request 0 has not ended"):
        loop.timings(0)


def test_a_cancelled_request_is_forgotten():
    """Cancelling works before a request is scheduled, while it runs, and is harmless after."""
    loop = a_loop()
    for request_id in (0, 1):
        loop.submit(a_request(request_id), at_ns=0)
    loop.cancel(0, at_ns=0)
    loop.begin()
    assert [e.request_id for e in loop.finish()] == [1]
    loop.cancel(1, at_ns=STEP_NS)
    loop.cancel(1, at_ns=STEP_NS)

    assert loop.begin() is None
    assert not loop._stamps


def test_a_cancellation_does_not_hide_a_later_arrival():
    """An idle engine looks past what has no effect."""
    loop = a_loop()
    loop.cancel(5, at_ns=3)
    loop.submit(a_request(), at_ns=9)

    assert loop.begin() == 9 + STEP_NS


def test_bad_requests_are_refused_before_they_queue():
    """A request that can never run, or an id in use, is refused at once."""
    loop = a_loop()
    loop.submit(a_request(), at_ns=0)

    with pytest.raises(UsageError, match="id: got 0"):
        loop.submit(a_request(), at_ns=1)
    with pytest.raises(UsageError, match="max_seq_len"):
        loop.submit(a_request(1, max_tokens=1000), at_ns=1)


def test_only_a_begun_iteration_can_be_finished():
    """Finishing nothing is a driver's mistake."""
    with pytest.raises(RuntimeError, match="no iteration has begun"):
        a_loop().finish()
