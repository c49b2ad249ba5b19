"""A thread that looks at something at a steady pace while something else runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NS = 1_000_000_000
_LEAST_URGENT = 19


class Pace:
    """What the thread has to tell when it is over: how many of its moments it skipped."""

    skipped: int = 0


@contextmanager
def sampling(take: Callable[[], None], *, period_s: float) -> Iterator[Pace]:
    """Call `take` every `period_s` from a thread while the block runs; the last call ends first.

    `take` must not raise, and whatever it waits for must have a deadline.
    """
    pace, stop = Pace(), threading.Event()

    def run() -> None:
        # This thread alone: it never takes a core from server or client, it waits for a free one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_URGENT)
        pace.skipped = keep_pace(
            take, stop.wait, period_ns=round(period_s * _NS), clock=time.perf_counter_ns
        )

    thread = threading.Thread(target=run, name="perfgate-telemetry", daemon=True)
    thread.start()
    try:
        yield pace
    finally:
        stop.set()
        thread.join()


def keep_pace(
    take: Callable[[], None],
    wait: Callable[[float], bool],
    *,
    period_ns: int,
    clock: Callable[[], int],
) -> int:
    """Call `take` now and at each full period until `wait(seconds)` is true.

    A `take` that lasts longer than a period skips moments; it is never called twice to catch up.
    Returns how many it skipped.
    """
    due_ns, skipped = clock(), 0
    while True:
        take()
        due_ns += period_ns
        late_ns = clock() - due_ns
        if late_ns > 0:
            missed = late_ns // period_ns + 1
            skipped += missed
            due_ns += missed * period_ns
        if wait((due_ns - clock()) / _NS):
            return skipped
