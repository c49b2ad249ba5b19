"""The simulated engine in virtual time: a load of any shape, as fast as Python computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from perfgate.errors import NoSamplesError, UsageError
from perfgate.hardware import HardwareProfile
from perfgate.model import (
    EngineSpec,
    RequestRecord,
    RequestStatus,
    ServingSpec,
    Workload,
)
from perfgate.sim.cost import cost_model
from perfgate.sim.loop import EngineLoop, StepCost
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Emission, SchedulerStats, SimRequest
from perfgate.traffic.pace import NEVER, Turn, pace_of
from perfgate.traffic.schedule import Schedule, plan_schedule, positions_needed
from perfgate.traffic.trace import TraceRow

Watch = Callable[[int, SchedulerStats], None]
"""Told the time and the scheduler's state while an iteration runs."""

TURNAROUND_S = 0.005
"""Time the client and Triton take between a request's end and the next one's arrival."""

_WARM_UP = 4  # of an open loop: one request in so many
LEAST_FOR_P95 = 60
"""Requests below which no P95 is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRun:
    """Records of a virtual run, in the order in which the requests were sent.

    From `steady_ns` on every client of a closed loop is past its first, shortened request; an open
    loop is steady when a quarter of the requests have ended. `end_ns` is when the run was stopped;
    requests in flight then are recorded as unfinished.
    """

    records: tuple[RequestRecord, ...]
    steady_ns: int
    end_ns: int
    busy_ns: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """Throughput and latency of a run's steady window; P95 is None where too few requests."""

    requests: int
    throughput_tok_s: float
    latency_p50_s: float
    latency_p95_s: float | None


def simulate(
    engine: EngineSpec,
    serving: ServingSpec,
    workload: Workload,
    profile: HardwareProfile,
    *,
    requests: int,
    turnaround_s: float = TURNAROUND_S,
    watch: Watch | None = None,
    trace: Sequence[TraceRow] = (),
) -> VirtualRun:
    """Run a load in virtual time until `requests` requests have ended.

    `turnaround_s` passes between the sending of a request and its arrival in the engine: the
    client's and Triton's share. Schedule and pace are those of a real load; `trace` holds the rows
    of a replay.
    """
    scheduler = Scheduler(engine, serving, vocab_size=profile.require_simulation().model.vocab)
    return run_load(
        scheduler,
        cost_model(profile, engine).step_seconds,
        workload,
        requests=requests,
        turnaround_s=turnaround_s,
        watch=watch,
        trace=trace,
    )


def run_load(
    scheduler: Scheduler,
    cost: StepCost,
    workload: Workload,
    *,
    requests: int,
    turnaround_s: float,
    watch: Watch | None = None,
    trace: Sequence[TraceRow] = (),
) -> VirtualRun:
    """Do what `simulate` says with any cost of an iteration."""
    if workload.arrivals is None and requests <= workload.concurrency:
        rule = f"it must exceed the {workload.concurrency} shortened ones that fill the engine"
        raise UsageError("requests", requests, rule)
    loop = EngineLoop(scheduler, cost)
    # As many more as there are clients: several requests may end with the last one.
    needed = positions_needed(workload, requests + workload.concurrency)
    if workload.trace is not None:
        needed = max(requests, min(needed, workload.trace.requests))
    schedule = plan_schedule(workload, needed, trace)
    warm_up = workload.concurrency if workload.arrivals is None else -(-requests // _WARM_UP)
    clients = _Clients(loop, workload, schedule, round(turnaround_s * 1e9), warm_up)
    now = 0
    while clients.ended < requests:
        deadline = loop.begin()
        if deadline is None:
            clients.send_due(clients.next_due_ns)
        else:
            now = deadline
            if watch is not None:
                watch(now, scheduler.stats())
            clients.send_due(now)
            clients.receive(loop.finish(), now)
    return VirtualRun(
        records=clients.records(now),
        steady_ns=clients.steady_ns,
        end_ns=now,
        busy_ns=loop.busy_ns,
        steps=loop.steps,
    )


def steady_state(run: VirtualRun) -> SteadyState:
    """Throughput over the steady window, and latencies of the requests sent and ended in it.

    Raises NoSamplesError if no request was both sent and ended there.
    """
    window = [r for r in run.records if r.sent_ns >= run.steady_ns and r.status is RequestStatus.OK]
    if not window:
        msg = "no request was sent and ended in the steady window: ask for more requests"
        raise NoSamplesError(msg)
    latency_s = [(record.finished_ns - record.due_ns) / 1e9 for record in window]
    tokens = sum(_tokens_since(record, run.steady_ns) for record in run.records)
    enough = len(window) >= LEAST_FOR_P95
    return SteadyState(
        requests=len(window),
        throughput_tok_s=tokens / ((run.end_ns - run.steady_ns) / 1e9),
        latency_p50_s=float(np.percentile(latency_s, 50)),
        latency_p95_s=float(np.percentile(latency_s, 95)) if enough else None,
    )


def _tokens_since(record: RequestRecord, start_ns: int) -> int:
    if record.sent_ns >= start_ns:
        return record.output_tokens
    pairs = zip(record.arrivals_ns, record.tokens, strict=True)
    return sum(tokens for arrival_ns, tokens in pairs if arrival_ns > start_ns)


@dataclass(slots=True)
class _Flight:
    """A request between its sending and its end."""

    turn: Turn
    sent_ns: int
    arrivals_ns: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


class _Clients:
    """The load's clients: each sends as its pace says, and notes what comes back."""

    def __init__(
        self,
        loop: EngineLoop,
        workload: Workload,
        schedule: Schedule,
        turnaround_ns: int,
        warm_up: int,
    ) -> None:
        self._loop = loop
        self._workload = workload
        self._schedule = schedule
        self._turnaround_ns = turnaround_ns
        self._pace = pace_of(
            workload.concurrency,
            len(schedule.isl),
            schedule.due_ns,
            turns=workload.turns,
            think_ns=round(workload.think_s * 1e9),
        )
        self._flights: dict[int, _Flight] = {}
        self._records: list[RequestRecord] = []
        self._warm_up = warm_up
        self._begun: set[int] = set()
        self.steady_ns = 0
        for client in range(workload.concurrency):
            self._free(client, 0)

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return len(self._records)

    @property
    def next_due_ns(self) -> int:
        """When something is due next; RuntimeError if nothing ever is, though more should end."""
        if self._pace.next_due_ns == NEVER:
            msg = "the load fell idle before its requests had ended"
            raise RuntimeError(msg)
        return self._pace.next_due_ns

    def send_due(self, until_ns: int) -> None:
        """Send what is due until then, each request at its time."""
        while (due_ns := self._pace.next_due_ns) <= until_ns:
            if (turn := self._pace.due(due_ns)) is not None:
                self._send(turn, due_ns)

    def receive(self, emissions: list[Emission], now_ns: int) -> None:
        """Note the tokens of one iteration and send the next requests."""
        for emission in emissions:
            flight = self._flights[emission.request_id]
            flight.arrivals_ns.append(now_ns)
            flight.counts.append(len(emission.tokens))
            if emission.final:
                self._end(flight, now_ns)

    def records(self, now_ns: int) -> tuple[RequestRecord, ...]:
        """All records in sending order, those in flight as unfinished."""
        unfinished = [
            self._record(flight, now_ns, RequestStatus.UNFINISHED)
            for flight in self._flights.values()
        ]
        return tuple(sorted(self._records + unfinished, key=lambda record: record.index))

    def _end(self, flight: _Flight, now_ns: int) -> None:
        self._records.append(self._record(flight, now_ns, RequestStatus.OK))
        del self._flights[flight.turn.request]
        if len(self._begun) < self._warm_up:
            # In a closed loop every client's first, in an open one the first to end.
            own = self._workload.arrivals is None
            self._begun.add(flight.turn.client if own else flight.turn.request)
            if len(self._begun) == self._warm_up:
                self.steady_ns = now_ns
        self._free(flight.turn.client, now_ns)

    def _free(self, client: int, now_ns: int) -> None:
        if (turn := self._pace.free(client, now_ns)) is not None:
            self._send(turn, now_ns)

    def _send(self, turn: Turn, now_ns: int) -> None:
        self._flights[turn.request] = _Flight(turn=turn, sent_ns=now_ns)
        request = SimRequest(
            id=turn.request,
            prompt_tokens=self._schedule.isl[turn.request],
            max_tokens=self._schedule.osl[turn.request],
            seed=self._workload.seed + turn.request,
        )
        self._loop.submit(request, at_ns=now_ns + self._turnaround_ns)

    def _record(self, flight: _Flight, now_ns: int, status: RequestStatus) -> RequestRecord:
        ended = status is RequestStatus.OK
        position = flight.turn.request
        record = RequestRecord(
            index=position,
            client=flight.turn.client,
            due_ns=flight.turn.due_ns,
            sent_ns=flight.sent_ns,
            finished_ns=now_ns,
            status=status,
            arrivals_ns=tuple(flight.arrivals_ns),
            tokens=tuple(flight.counts),
            input_tokens=self._schedule.isl[position],
            expected_output_tokens=self._schedule.osl[position],
            server=self._loop.timings(position) if ended else None,
        )
        return record if self._workload.uniform else self._schedule.describe(record)
