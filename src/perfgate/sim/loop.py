"""The engine's loop without a clock: arrivals in, deadlines out, one iteration at a time.

Real time and virtual time drive this same loop, so they cannot disagree on what the engine does.
An iteration starts when the last one was due to end, or, after an idle spell, when a request
arrives; what arrives later waits for the next. A driver that is late therefore changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from perfgate.errors import UsageError
from perfgate.model import ServerTimings
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Emission, SimRequest, Step

StepCost = Callable[[Step], float]
"""Seconds that an iteration takes."""


class _Stamps:
    """When things happened to one request, in nanoseconds."""

    __slots__ = ("arrival", "first_token", "last_token", "scheduled")

    def __init__(self, arrival: int) -> None:
        self.arrival = arrival
        self.scheduled: int | None = None
        self.first_token: int | None = None
        self.last_token: int | None = None


class EngineLoop:
    """One iteration after the other over a scheduler.

    `submit` and `cancel` only append to a queue and may be called from any thread; all else
    belongs to the one driver. Times are integer nanoseconds of the driver's clock.
    """

    def __init__(self, scheduler: Scheduler, cost: StepCost) -> None:
        self._scheduler = scheduler
        self._cost = cost
        self._inbox: deque[tuple[int, SimRequest | int]] = deque()
        self._stamps: dict[int, _Stamps] = {}
        self._closed: list[int] = []
        self._step: Step | None = None
        self._due_ns = 0
        self.busy_ns = 0
        self.steps = 0

    def submit(self, request: SimRequest, *, at_ns: int) -> None:
        """Let a request arrive; raises UsageError at once if it could never run."""
        self._scheduler.check(request)
        if request.id in self._stamps:
            raise UsageError("id", request.id, "a request with this id is still running")
        self._stamps[request.id] = _Stamps(at_ns)
        self._inbox.append((at_ns, request))

    def cancel(self, request_id: int, *, at_ns: int) -> None:
        """Let a cancellation arrive; a request that has ended meanwhile is left alone."""
        self._inbox.append((at_ns, request_id))

    def begin(self) -> int | None:
        """Start the next iteration and return its deadline; None when there is nothing to run."""
        self._forget_closed()
        start = self._due_ns
        self._take_arrivals(start)
        step = self._scheduler.next_step()
        while step is None and self._inbox:
            start = max(start, self._inbox[0][0])
            self._take_arrivals(start)
            step = self._scheduler.next_step()
        if step is None:
            return None
        self._stamp_scheduled(step, start)
        duration = max(1, round(self._cost(step) * 1e9))
        self._step, self._due_ns = step, start + duration
        self.busy_ns += duration
        self.steps += 1
        return self._due_ns

    def finish(self) -> list[Emission]:
        """End the iteration at its deadline and return its tokens."""
        if self._step is None:
            msg = "no iteration has begun"
            raise RuntimeError(msg)
        emissions = self._scheduler.finish_step(self._step)
        self._step = None
        for emission in emissions:
            stamps = self._stamps[emission.request_id]
            if stamps.first_token is None:
                stamps.first_token = self._due_ns
            if emission.final:
                stamps.last_token = self._due_ns
                self._closed.append(emission.request_id)
        return emissions

    def timings(self, request_id: int) -> ServerTimings:
        """Stamps of a request whose final emission the last `finish` returned."""
        stamps = self._stamps[request_id]
        if stamps.scheduled is None or stamps.first_token is None or stamps.last_token is None:
            msg = f"request {request_id} has not ended"
            raise RuntimeError(msg)
        return ServerTimings(
            arrival_ns=stamps.arrival,
            first_scheduled_ns=stamps.scheduled,
            first_token_ns=stamps.first_token,
            last_token_ns=stamps.last_token,
        )

    def _take_arrivals(self, until_ns: int) -> None:
        while self._inbox and self._inbox[0][0] <= until_ns:
            _, arrival = self._inbox.popleft()
            if isinstance(arrival, SimRequest):
                self._scheduler.submit(arrival)
            elif self._scheduler.cancel(arrival):
                del self._stamps[arrival]

    def _stamp_scheduled(self, step: Step, start_ns: int) -> None:
        for chunk in step.context:
            stamps = self._stamps[chunk.request_id]
            if stamps.scheduled is None:
                stamps.scheduled = start_ns

    def _forget_closed(self) -> None:
        for request_id in self._closed:
            del self._stamps[request_id]
        self._closed.clear()
