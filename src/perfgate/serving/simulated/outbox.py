"""Threads that send responses, so that the engine's thread never waits for Triton."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Outbox:
    """Runs the work of one iteration on several threads, at most one iteration behind.

    Sending a response waits for Triton's acknowledgement, so one thread could send a few thousand
    a second at best. Work of the same key keeps its order. `post` first waits for what the last
    one left: a sender that cannot keep up makes the engine late, which is counted, and not quietly
    ever further behind.
    """

    def __init__(self, *, on_error: Callable[[Exception], None], threads: int = 4) -> None:
        self._on_error = on_error
        self._queues: list[SimpleQueue[list[Work] | None]] = [SimpleQueue() for _ in range(threads)]
        self._pending = threading.Semaphore(0)
        self._posted = 0
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, args=(queue,), name="sender", daemon=True)
            for queue in self._queues
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def post(self, work: list[tuple[int, Work]]) -> None:
        """Hand over one iteration's work as (key, work)."""
        for _ in range(self._posted):
            self._pending.acquire()
        if self._stopped:
            return
        shares: list[list[Work]] = [[] for _ in self._queues]
        for key, one in work:
            shares[key % len(shares)].append(one)
        self._posted = len(shares)
        for queue, share in zip(self._queues, shares, strict=True):
            queue.put(share)

    def stop(self, patience_s: float) -> None:
        """End after the work in hand; threads that hang for longer than that are left alone."""
        self._stopped = True
        for queue in self._queues:
            queue.put(None)
        deadline = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._pending.release(len(self._threads))  # whoever waits in `post`, waits in vain

    def _run(self, queue: SimpleQueue[list[Work] | None]) -> None:
        while (share := queue.get()) is not None:
            for work in share:
                self._do(work)
            self._pending.release()

    def _do(self, work: Work) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - one broken answer must not silence the others
            self._on_error(error)
