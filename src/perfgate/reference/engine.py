"""The reference engine in real time: one thread that plans, launches, waits and hands over."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from perfgate.errors import UsageError
from perfgate.model import ServerTimings
from perfgate.reference.batch import Dialogue, Ints, Packed, Packer
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Emission, SimRequest, Step
from perfgate.sim.threaded import EngineStats, ThreadedEngine

Handover = Callable[[list[Emission]], None]


class Device(Protocol):
    """Where iterations are computed."""

    def launch(self, packed: Packed, tables: Ints) -> None:
        """Start an iteration."""

    def tokens(self) -> list[int]:
        """Wait for it and return one token for each that was asked."""


@dataclasses.dataclass(slots=True)
class _Stamps:
    arrival_ns: int
    scheduled_ns: int = 0
    first_token_ns: int = 0
    last_token_ns: int = 0


class ReferenceEngine(ThreadedEngine):
    """Runs what the scheduler plans on a device and hands the tokens of each iteration to `emit`.

    The scheduler is the simulated engine's own: here its plans meet a real model. While an
    iteration computes, the tokens of the one before are handed over, as a pipelined engine does.
    `emit` is called on the engine's thread; `timings` answers there for every final emission.
    `submit` and `cancel` may be called from any thread. A `step_time_factor` of 1.05 plants a
    slowdown of 5 %, as a hardware profile's does in a simulation.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        packer: Packer,
        device: Device,
        *,
        emit: Handover,
        step_time_factor: float = 1.0,
        clock: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__("reference", EngineStats(scheduler=scheduler.stats()))
        self._scheduler = scheduler
        self._packer = packer
        self._device = device
        self._emit = emit
        self._factor = step_time_factor
        self._clock = clock
        self._sleep = sleep
        self._inbox: deque[tuple[SimRequest, Dialogue] | int] = deque()
        self._dialogues: dict[int, Dialogue] = {}
        self._stamps: dict[int, _Stamps] = {}
        self._undelivered: list[Emission] = []

    def submit(self, request: SimRequest, prompt: Sequence[int]) -> None:
        """Let a request arrive now.

        Raises UsageError if it could never run, ServerError if the engine has stopped.
        """
        dialogue = Dialogue(list(prompt), len(prompt), request.end_id, request.min_tokens)
        with self._arrival():
            self._require_running()
            self._scheduler.check(request)
            if request.id in self._stamps:
                raise UsageError("id", request.id, "a request with this id is still running")
            self._stamps[request.id] = _Stamps(self._clock())
            # The model decides when a request ends early, so the scheduler plans its full length.
            self._inbox.append((dataclasses.replace(request, end_id=None), dialogue))

    def cancel(self, request_id: int) -> None:
        """Drop a request from the next iteration on; it emits no more, not even an end."""
        with self._arrival():
            self._inbox.append(request_id)

    def timings(self, request_id: int) -> ServerTimings:
        """Stamps of a request whose final emission is being emitted."""
        stamps = self._stamps[request_id]
        return ServerTimings(
            arrival_ns=stamps.arrival_ns,
            first_scheduled_ns=stamps.scheduled_ns,
            first_token_ns=stamps.first_token_ns,
            last_token_ns=stamps.last_token_ns,
        )

    def run_once(self) -> bool:
        """Run one iteration; False, once all tokens are handed over, when there is none."""
        self._take_arrivals()
        step = self._scheduler.next_step()
        if step is None:
            self._deliver()
            self._note(0)
            with self._lock:
                if not self._inbox:
                    self._idle.set()
            return False
        started_ns = self._clock()
        self._stamp_scheduled(step, started_ns)
        packed = self._packer.pack(step, self._scheduler, self._dialogues)
        self._device.launch(packed, self._packer.tables)
        self._note(0)
        self._deliver()
        tokens = self._device.tokens()
        self._slow_down(started_ns)
        now_ns = self._clock()
        emissions = self._scheduler.finish_step(step)
        said = dict(zip(packed.asked, tokens, strict=True))
        self._undelivered = [self._speak(one, said[one.request_id], now_ns) for one in emissions]
        self._note(now_ns - started_ns)
        return True

    def _slow_down(self, started_ns: int) -> None:
        """Lengthen the iteration by the factor, which plants a slowdown on purpose."""
        if self._factor > 1:
            self._sleep((self._clock() - started_ns) * (self._factor - 1) / 1e9)

    def _take_arrivals(self) -> None:
        while self._inbox:
            arrival = self._inbox.popleft()
            if isinstance(arrival, int):
                self._forget(arrival)
                continue
            request, dialogue = arrival
            self._dialogues[request.id] = dialogue
            self._scheduler.submit(request)

    def _forget(self, request_id: int) -> None:
        if self._scheduler.cancel(request_id):
            del self._dialogues[request_id], self._stamps[request_id]
            # What its last iteration said waits in vain.
            self._undelivered = [e for e in self._undelivered if e.request_id != request_id]

    def _stamp_scheduled(self, step: Step, now_ns: int) -> None:
        for chunk in step.context:
            stamps = self._stamps[chunk.request_id]
            stamps.scheduled_ns = stamps.scheduled_ns or now_ns

    def _speak(self, emission: Emission, token: int, now_ns: int) -> Emission:
        """Put the model's token in place of the scheduler's, or end the request with it."""
        stamps, dialogue = self._stamps[emission.request_id], self._dialogues[emission.request_id]
        stamps.first_token_ns = stamps.first_token_ns or now_ns
        stamps.last_token_ns = now_ns
        said = len(dialogue.tokens) - dialogue.prompt_tokens
        ended = token == dialogue.end_id and said >= dialogue.min_tokens
        final = emission.final or ended
        if not ended:
            dialogue.tokens.append(token)
        elif not emission.final:
            self._scheduler.cancel(emission.request_id)
        return Emission(
            request_id=emission.request_id, tokens=() if ended else (token,), final=final
        )

    def _deliver(self) -> None:
        emissions, self._undelivered = self._undelivered, []
        if not emissions:
            return
        self._emit(emissions)
        for emission in emissions:
            if emission.final:
                del self._stamps[emission.request_id], self._dialogues[emission.request_id]

    def _note(self, busy_ns: int) -> None:
        before = self._stats
        self._stats = EngineStats(
            scheduler=self._scheduler.stats(),
            steps=before.steps + (1 if busy_ns else 0),
            busy_ns=before.busy_ns + busy_ns,
        )
