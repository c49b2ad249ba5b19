"""The simulated engine in real time: one thread that steps to absolute deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from perfgate.model import ServerTimings
from perfgate.sim.loop import EngineLoop, StepCost
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Emission, SimRequest
from perfgate.sim.threaded import EngineStats, ThreadedEngine


@dataclass(frozen=True, slots=True)
class EngineClock:
    """The simulated engine's clock: `time.perf_counter_ns`, `dilation` times slower.

    A machine too slow for what it simulates gets so many seconds for each of the engine's.
    """

    dilation: int = 1

    def now_ns(self) -> int:
        """What it shows."""
        return time.perf_counter_ns() // self.dilation

    def wait_until(self, deadline_ns: int) -> None:
        """Sleep until it shows the deadline; return at once if it has."""
        while (left_ns := deadline_ns * self.dilation - time.perf_counter_ns()) > 0:
            time.sleep(left_ns / 1e9)  # time going by is what is simulated


REAL_TIME = EngineClock()


class RealTimeEngine(ThreadedEngine):
    """Runs a scheduler in real time and hands the tokens of each iteration to `emit`.

    `emit` is called on the engine's own thread at each iteration's deadline; `timings` answers
    there for every final emission. `submit` and `cancel` may be called from any thread.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        cost: StepCost,
        *,
        emit: Callable[[list[Emission]], None],
        clock: Callable[[], int] = REAL_TIME.now_ns,
        wait: Callable[[int], None] = REAL_TIME.wait_until,
    ) -> None:
        super().__init__("simulated", EngineStats(scheduler=scheduler.stats()))
        self._scheduler = scheduler
        self._loop = EngineLoop(scheduler, cost)
        self._emit = emit
        self._clock = clock
        self._wait = wait

    def submit(self, request: SimRequest) -> None:
        """Let a request arrive now.

        Raises UsageError if it could never run, ServerError if the engine has stopped.
        """
        with self._arrival():
            self._require_running()
            self._loop.submit(request, at_ns=self._clock())

    def cancel(self, request_id: int) -> None:
        """Drop a request from the next iteration on; it emits no more, not even an end."""
        with self._arrival():
            self._loop.cancel(request_id, at_ns=self._clock())

    def timings(self, request_id: int) -> ServerTimings:
        """Stamps of a request whose final emission is being emitted."""
        return self._loop.timings(request_id)

    def run_once(self) -> bool:
        """Run one iteration to its deadline; False, without waiting, when there is none."""
        with self._lock:
            deadline_ns = self._loop.begin()
            if deadline_ns is None:
                self._stats = self._updated(0)
                self._idle.set()
                return False
        # While it runs the iteration counts as scheduled, as in TensorRT-LLM's metrics.
        self._stats = self._updated(0)
        self._wait(deadline_ns)
        late_ns = max(0, self._clock() - deadline_ns)
        emissions = self._loop.finish()
        self._emit(emissions)
        self._stats = self._updated(late_ns)
        return True

    def _updated(self, late_ns: int) -> EngineStats:
        before = self._stats
        return EngineStats(
            scheduler=self._scheduler.stats(),
            steps=self._loop.steps,
            busy_ns=self._loop.busy_ns,
            late_total_ns=before.late_total_ns + late_ns,
            late_max_ns=max(before.late_max_ns, late_ns),
        )
