"""The simulated engine in real time: one thread that steps to absolute deadlines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from perfgate.errors import ServerError
from perfgate.model import ServerTimings
from perfgate.sim.loop import EngineLoop, StepCost
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Emission, SchedulerStats, SimRequest


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


def wait_until(deadline_ns: int) -> None:
    """Sleep until `time.perf_counter_ns` reaches the deadline; return at once if it has."""
    while (left_ns := deadline_ns - time.perf_counter_ns()) > 0:
        time.sleep(left_ns / 1e9)


class RealTimeEngine:
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
        clock: Callable[[], int] = time.perf_counter_ns,
        wait: Callable[[int], None] = wait_until,
    ) -> None:
        self._scheduler = scheduler
        self._loop = EngineLoop(scheduler, cost)
        self._emit = emit
        self._clock = clock
        self._wait = wait
        self._stats = EngineStats(scheduler=scheduler.stats())
        self._lock = threading.Lock()  # orders arrivals by their stamps, and idle against them
        self._arrived = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="simulated-engine", daemon=True)

    def submit(self, request: SimRequest) -> None:
        """Let a request arrive now.

        Raises UsageError if it could never run, ServerError if the engine has stopped.
        """
        with self._lock:
            self._require_running()
            self._loop.submit(request, at_ns=self._clock())
            self._idle.clear()
        self._arrived.set()

    def cancel(self, request_id: int) -> None:
        """Drop a request from the next iteration on; it emits no more, not even an end."""
        with self._lock:
            self._loop.cancel(request_id, at_ns=self._clock())
            self._idle.clear()
        self._arrived.set()

    def timings(self, request_id: int) -> ServerTimings:
        """Stamps of a request whose final emission is being emitted."""
        return self._loop.timings(request_id)

    def stats(self) -> EngineStats:
        """The state after the last iteration, from any thread."""
        return self._stats

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

    def _run(self) -> None:
        try:
            while not self._stopping:
                if not self.run_once():
                    self._arrived.wait()
                    self._arrived.clear()
        except BaseException as error:
            self._failure = error
            raise

    def _require_running(self) -> None:
        if self._failure is not None:
            msg = f"the simulated engine stopped on an error: {self._failure!r}"
            raise ServerError(msg) from self._failure
        if self._stopping:
            msg = "the simulated engine has been stopped and takes no more requests"
            raise ServerError(msg)

    def _updated(self, late_ns: int) -> EngineStats:
        before = self._stats
        return EngineStats(
            scheduler=self._scheduler.stats(),
            steps=self._loop.steps,
            busy_ns=self._loop.busy_ns,
            late_total_ns=before.late_total_ns + late_ns,
            late_max_ns=max(before.late_max_ns, late_ns),
        )
