"""The engine in real time: paced by an injected clock, then once by a real thread."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from perfgate.errors import ServerError, UsageError
from perfgate.sim import realtime
from perfgate.sim.loop import EngineLoop
from perfgate.sim.realtime import EngineClock, RealTimeEngine
from perfgate.sim.scheduler import Scheduler, SimRequest
from tests.unit.sim_samples import a_serving, an_engine

pytestmark = pytest.mark.unit

STEP_NS = 10_000_000


class FakeClock:
    """A clock that only waiting moves; each wait may end late."""

    def __init__(self, *late_ns):
        self.now_ns = 1_000
        self._late_ns = list(late_ns)

    def __call__(self):
        """The time in nanoseconds."""
        return self.now_ns

    def wait(self, deadline_ns):
        """Pass the time until the deadline, and the lateness that is next."""
        late_ns = self._late_ns.pop(0) if self._late_ns else 0
        self.now_ns = max(self.now_ns, deadline_ns + late_ns)


def a_scheduler():
    """A scheduler over the small engine."""
    return Scheduler(an_engine(), a_serving(), vocab_size=100)


def an_engine_at(clock, emitted, *, cost_s=STEP_NS / 1e9):
    """An engine without a thread that notes (time, emission)."""
    return RealTimeEngine(
        a_scheduler(),
        lambda _: cost_s,
        emit=lambda out: emitted.extend((clock.now_ns, e) for e in out),
        clock=clock,
        wait=clock.wait,
    )


def a_request(request_id=0, max_tokens=3):
    """A request of eight prompt tokens."""
    return SimRequest(id=request_id, prompt_tokens=8, max_tokens=max_tokens)


def test_a_dilated_clock_is_the_machine_s_slowed_down(monkeypatch):
    """A second of the engine takes two of the machine, and a wait that ends early goes on."""
    machine_ns, slept = [8_000_000_000], []

    def sleep(seconds):
        slept.append(seconds)
        machine_ns[0] += round(min(seconds, 1.5) * 1e9)

    fake = SimpleNamespace(perf_counter_ns=lambda: machine_ns[0], sleep=sleep)
    monkeypatch.setattr(realtime, "time", fake)
    clock = EngineClock(2)

    assert clock.now_ns() == 4_000_000_000
    clock.wait_until(5_000_000_000)
    assert clock.now_ns() == 5_000_000_000
    assert slept == [2.0, 0.5]
    clock.wait_until(5_000_000_000)
    assert slept == [2.0, 0.5]


def test_tokens_are_emitted_at_absolute_deadlines():
    """A late iteration does not delay the next ones: lateness never adds up."""
    clock, emitted = FakeClock(4_000_000, 0, 15_000_000), []
    engine = an_engine_at(clock, emitted)
    engine.submit(a_request(max_tokens=5))
    while engine.run_once():
        pass

    offsets = [time_ns - 1_000 for time_ns, _ in emitted]
    assert offsets == [14_000_000, 20_000_000, 45_000_000, 45_000_000, 50_000_000]


def test_lateness_and_busy_time_are_counted():
    """Stats give total and largest lateness and their share of the busy time."""
    clock, emitted = FakeClock(4_000_000, 1_000_000), []
    engine = an_engine_at(clock, emitted)
    assert engine.stats().late_share == 0.0
    engine.submit(a_request())
    while engine.run_once():
        pass

    stats = engine.stats()
    assert (stats.steps, stats.busy_ns) == (3, 3 * STEP_NS)
    assert (stats.late_total_ns, stats.late_max_ns) == (5_000_000, 4_000_000)
    assert stats.late_share == pytest.approx(5 / 30)
    assert stats.scheduler.active == 0


def test_an_idle_engine_starts_with_the_next_arrival():
    """Idle time is neither busy nor late."""
    clock, emitted = FakeClock(), []
    engine = an_engine_at(clock, emitted)
    assert not engine.run_once()
    clock.now_ns = 5_000_000
    engine.submit(a_request(max_tokens=1))

    assert engine.run_once()
    assert emitted[0][0] == 5_000_000 + STEP_NS
    assert engine.stats().busy_ns == STEP_NS


def test_stats_show_the_iteration_in_flight():
    """While an iteration runs its requests count as scheduled."""
    seen = []
    clock = FakeClock()
    engine = RealTimeEngine(
        a_scheduler(),
        lambda _: 0.01,
        emit=lambda _: seen.append(engine.stats().scheduler.scheduled),
        clock=clock,
        wait=clock.wait,
    )
    engine.submit(a_request(max_tokens=1))
    engine.run_once()

    assert seen == [1]


def test_timings_come_with_the_final_emission():
    """Inside `emit` the final emission's stamps are known."""
    clock, timings = FakeClock(), []
    engine = RealTimeEngine(
        a_scheduler(),
        lambda _: STEP_NS / 1e9,
        emit=lambda out: timings.extend(engine.timings(e.request_id) for e in out if e.final),
        clock=clock,
        wait=clock.wait,
    )
    engine.submit(a_request(max_tokens=2))
    while engine.run_once():
        pass

    (stamps,) = timings
    assert stamps.arrival_ns == stamps.first_scheduled_ns == 1_000
    assert (stamps.first_token_ns, stamps.last_token_ns) == (1_000 + STEP_NS, 1_000 + 2 * STEP_NS)


def test_real_time_and_virtual_time_run_the_same_schedule():
    """However late the machine is, the deadlines are those of the loop without a clock."""
    virtual, real = [], []
    loop = EngineLoop(a_scheduler(), lambda step: 0.001 * (1 + len(step.generation)))
    clock = FakeClock(500_000, 0, 700_000, 0, 0, 900_000)
    engine = RealTimeEngine(
        a_scheduler(),
        lambda step: 0.001 * (1 + len(step.generation)),
        emit=lambda out: real.extend(engine.timings(e.request_id) for e in out if e.final),
        clock=clock,
        wait=clock.wait,
    )
    for request_id in range(6):
        loop.submit(a_request(request_id, request_id + 1), at_ns=1_000)
        engine.submit(a_request(request_id, request_id + 1))
    while loop.begin() is not None:
        virtual.extend(loop.timings(e.request_id) for e in loop.finish() if e.final)
    while engine.run_once():
        pass

    assert real == virtual


def test_a_bad_request_is_refused_where_it_is_submitted():
    """The engine's thread never sees it."""
    with pytest.raises(UsageError, match="prompt_tokens"):
        an_engine_at(FakeClock(), []).submit(BAD)


BAD = SimRequest(id=0, prompt_tokens=999, max_tokens=1)


def test_a_stopped_engine_takes_no_requests():
    """After stop a request is refused instead of waiting for ever."""
    engine = an_engine_at(FakeClock(), [])
    engine.stop()

    with pytest.raises(ServerError, match="has been stopped"):
        engine.submit(a_request())


def threaded(emit):
    """A started engine whose iterations take no time to speak of."""
    engine = RealTimeEngine(a_scheduler(), lambda _: 1e-6, emit=emit)
    engine.start()
    return engine


def test_the_thread_serves_submitters_drains_and_stops():
    """Requests from several threads are all served; cancelled ones leave nothing behind."""
    finals, lock = [], threading.Lock()

    def emit(emissions):
        with lock:
            finals.extend(e.request_id for e in emissions if e.final)

    engine = threaded(emit)

    def submit(first):
        for request_id in range(first, first + 20):
            engine.submit(a_request(request_id))

    threads = [threading.Thread(target=submit, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.cancel(999)

    assert engine.drain(timeout_s=30)
    engine.stop()
    assert sorted(finals) == [*range(20), *range(100, 120), *range(200, 220)]
    assert engine.stats().scheduler.kv_blocks_used == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_broke_says_so():
    """An error on the engine's thread is told to the next submitter."""
    broken = threading.Event()

    def emit(_):
        broken.set()
        msg = "the pipe is gone"
        raise OSError(msg)

    engine = threaded(emit)
    engine.submit(a_request())
    assert broken.wait(30)
    engine._thread.join(30)

    with pytest.raises(ServerError, match="the pipe is gone"):
        engine.submit(a_request(1))


def test_drain_gives_up_in_time():
    """Drain says when work is left."""
    engine = an_engine_at(FakeClock(), [])
    engine.submit(a_request())

    assert not engine.drain(timeout_s=0.0)
