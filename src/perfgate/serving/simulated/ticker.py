"""A thread that does one thing again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticker:
    """Calls `work` every `period_s` seconds until it is stopped."""

    def __init__(self, work: Callable[[], None], period_s: float) -> None:
        self._work = work
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """End after the call in progress; one that hangs for longer than that is left alone."""
        self._stopped.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            self._work()
