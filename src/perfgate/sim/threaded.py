"""An engine on a thread of its own: what the simulated and the reference engine have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from perfgate.errors import ServerError
from perfgate.sim.steps import SchedulerStats


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """What the engine has done so far; all times in nanoseconds since it was made.

    Lateness is how long after its deadline an iteration's tokens began to be sent: the error of
    the machine that simulates, not of the simulated GPU.
    """

    scheduler: SchedulerStats
    steps: int = 0
    busy_ns: int = 0
    late_total_ns: int = 0
    late_max_ns: int = 0

    @property
    def late_share(self) -> float:
        """Total lateness as a share of the busy time."""
        return self.late_total_ns / self.busy_ns if self.busy_ns else 0.0


class ThreadedEngine(ABC):
    """Runs iterations while there are any, and waits for arrivals else.

    `name` says which engine it is, in the thread's name and in errors. `_stats` is the subclass's
    to replace after each iteration.
    """

    def __init__(self, name: str, stats: EngineStats) -> None:
        self._name = name
        self._stats = stats
        self._lock = threading.Lock()  # orders arrivals, and idleness against them
        self._arrived = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"{name}-engine", daemon=True)

    @abstractmethod
    def run_once(self) -> bool:
        """Run one iteration; False, once all tokens are handed over, when there is none."""

    def stats(self) -> EngineStats:
        """The state after the last iteration, from any thread."""
        return self._stats

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is left to run; False if the time was too short."""
        return self._idle.wait(timeout_s)

    def stop(self) -> None:
        """End after the iteration in flight and wait for the thread; requests left are dropped."""
        with self._lock:
            self._stopping = True
        self._arrived.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def _arrival(self) -> Iterator[None]:
        """Hold the lock while something arrives, then wake the thread."""
        with self._lock:
            yield
            self._idle.clear()
        self._arrived.set()

    def _require_running(self) -> None:
        if self._failure is not None:
            msg = f"the {self._name} engine stopped on an error: {self._failure!r}"
            raise ServerError(msg) from self._failure
        if self._stopping:
            msg = f"the {self._name} engine has been stopped and takes no more requests"
            raise ServerError(msg)

    def _run(self) -> None:
        try:
            while not self._stopping:
                if not self.run_once():
                    self._arrived.wait()
                    self._arrived.clear()
        except BaseException as error:
            self._failure = error
            raise
