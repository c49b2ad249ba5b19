"""The thread beside the run: at a steady pace, never twice at once, always ended."""

import os
import threading

import pytest

from perfgate.observe.sampling import keep_pace, sampling

pytestmark = pytest.mark.unit

PERIOD = 100


class Clock:
    """Time in nanoseconds that passes while something waits or works."""

    def __init__(self, *, waits):
        self.now = 0
        self.waits_left = waits

    def __call__(self):
        """The time now."""
        return self.now

    def wait(self, seconds):
        """Let the time pass; say stop once all waits are used up."""
        self.now += round(seconds * 1e9)
        self.waits_left -= 1
        return self.waits_left < 0


def moments(*, works, waits):
    """When samples are taken that take as long as `works` says, and how many were skipped."""
    clock, taken, durations = Clock(waits=waits), [], iter(works)

    def take():
        taken.append(clock.now)
        clock.now += next(durations, 0)

    return taken, keep_pace(take, clock.wait, period_ns=PERIOD, clock=clock)


def test_samples_keep_to_their_period():
    """The work itself does not stretch the period: no drift."""
    taken, skipped = moments(works=[30, 90, 5, 60], waits=3)

    assert taken == [0, 100, 200, 300]
    assert skipped == 0


def test_a_slow_sample_skips_moments():
    """After a long sample the next one falls on the grid again; the lost ones are counted."""
    taken, skipped = moments(works=[10, 250, 10], waits=3)

    assert taken == [0, 100, 400, 500]
    assert skipped == 2


def test_the_thread_ends_with_the_block():
    """The first sample is taken, and no thread outlives the block, even when it raises."""
    took = threading.Event()

    def fail():
        with sampling(took.set, period_s=60):
            assert took.wait(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert "perfgate-telemetry" not in {thread.name for thread in threading.enumerate()}


def test_the_thread_gives_way_to_everything_else():
    """Its priority is the lowest there is; that of the thread that started it stays."""
    priorities, took = [], threading.Event()
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def take():
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        took.set()

    with sampling(take, period_s=60):
        assert took.wait(10)

    assert priorities == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
