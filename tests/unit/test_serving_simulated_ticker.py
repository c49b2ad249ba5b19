"""The ticker does one thing again and again, until it is stopped."""

import threading

import pytest

from perfgate.serving.simulated.ticker import Ticker

pytestmark = pytest.mark.unit


def test_work_is_done_until_the_ticker_is_stopped():
    """It comes again and again; after `stop` it does not come any more."""
    came = threading.Semaphore(0)
    ticker = Ticker(came.release, period_s=0.001)
    ticker.start()
    for _ in range(3):
        assert came.acquire(timeout=10)

    ticker.stop(patience_s=10)

    while came.acquire(blocking=False):
        pass
    assert not came.acquire(timeout=0.02)


def test_work_that_hangs_does_not_hang_the_stop():
    """A Triton that died in the middle of a call keeps nobody waiting."""
    started, never = threading.Event(), threading.Event()

    def hang():
        started.set()
        never.wait(10)

    ticker = Ticker(hang, period_s=0.001)
    ticker.start()
    assert started.wait(10)

    ticker.stop(patience_s=0.01)  # returns, or the test would time out

    assert ticker._thread.is_alive()
    never.set()
