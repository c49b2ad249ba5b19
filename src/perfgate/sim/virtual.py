"""The simulated engine in virtual time: a closed loop of clients, as fast as Python computes."""

from __future__ import annotations

from collections.abc import Callable
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

Watch = Callable[[int, SchedulerStats], None]
"""Told the time and the scheduler's state while an iteration runs."""

TURNAROUND_S = 0.005
"""Time the client and Triton take between a request's end and the next one's arrival."""

LEAST_FOR_P95 = 60
"""Requests below which no P95 is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRun:
    """Records of a virtual run, in the order in which the requests were sent.

    From `steady_ns` on every client is past its first, shortened request. `end_ns` is when the
    run was stopped; requests in flight then are recorded as unfinished.
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
) -> VirtualRun:
    """Run a closed loop in virtual time until `requests` requests have ended.

    `turnaround_s` passes between a request's end and the arrival of the next one of its slot: the
    client's and Triton's share. All slots start at 0; the first request of slot k asks for
    (k + 1) / concurrency of the tokens, so that the slots end evenly spread.
    """
    scheduler = Scheduler(engine, serving, vocab_size=profile.require_simulation().model.vocab)
    return run_closed_loop(
        scheduler,
        cost_model(profile, engine).step_seconds,
        workload,
        requests=requests,
        turnaround_s=turnaround_s,
        watch=watch,
    )


def run_closed_loop(
    scheduler: Scheduler,
    cost: StepCost,
    workload: Workload,
    *,
    requests: int,
    turnaround_s: float,
    watch: Watch | None = None,
) -> VirtualRun:
    """Do what `simulate` says with any cost of an iteration."""
    if requests <= workload.concurrency:
        rule = f"it must exceed the {workload.concurrency} shortened ones that fill the engine"
        raise UsageError("requests", requests, rule)
    loop = EngineLoop(scheduler, cost)
    clients = _Clients(loop, workload, round(turnaround_s * 1e9))
    now = 0
    while clients.ended < requests:
        now = _deadline(loop)
        if watch is not None:
            watch(now, scheduler.stats())
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
    latency_s = [(record.finished_ns - record.sent_ns) / 1e9 for record in window]
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


def _deadline(loop: EngineLoop) -> int:
    deadline = loop.begin()
    if deadline is None:
        msg = "the closed loop fell idle, though every slot has a request"
        raise RuntimeError(msg)
    return deadline


@dataclass(slots=True)
class _Flight:
    """A request between its sending and its end."""

    index: int
    slot: int
    sent_ns: int
    tokens: int
    arrivals_ns: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


class _Clients:
    """The closed loop's slots: each sends its next request as soon as the last one ended."""

    def __init__(self, loop: EngineLoop, workload: Workload, turnaround_ns: int) -> None:
        self._loop = loop
        self._workload = workload
        self._turnaround_ns = turnaround_ns
        self._flights: dict[int, _Flight] = {}
        self._records: list[RequestRecord] = []
        self._sent = 0
        self._starting = workload.concurrency
        self.steady_ns = 0
        for slot in range(workload.concurrency):
            self._send(slot, 0, first_length(slot, workload))

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return len(self._records)

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
        del self._flights[flight.index]
        if flight.index < self._workload.concurrency:
            self._starting -= 1
            if not self._starting:
                self.steady_ns = now_ns
        self._send(flight.slot, now_ns, self._workload.osl)

    def _send(self, slot: int, now_ns: int, tokens: int) -> None:
        index = self._sent
        self._sent += 1
        self._flights[index] = _Flight(index=index, slot=slot, sent_ns=now_ns, tokens=tokens)
        request = SimRequest(
            id=index,
            prompt_tokens=self._workload.isl,
            max_tokens=tokens,
            seed=self._workload.seed + index,
        )
        self._loop.submit(request, at_ns=now_ns + self._turnaround_ns)

    def _record(self, flight: _Flight, now_ns: int, status: RequestStatus) -> RequestRecord:
        ended = status is RequestStatus.OK
        return RequestRecord(
            index=flight.index,
            client=flight.slot,
            due_ns=flight.sent_ns,
            sent_ns=flight.sent_ns,
            finished_ns=now_ns,
            status=status,
            arrivals_ns=tuple(flight.arrivals_ns),
            tokens=tuple(flight.counts),
            input_tokens=self._workload.isl,
            expected_output_tokens=flight.tokens,
            server=self._loop.timings(flight.index) if ended else None,
        )


def first_length(slot: int, workload: Workload) -> int:
    """Tokens the first request of slot `slot` (from 0) asks for, so that slots end in turn."""
    return max(1, round(workload.osl * (slot + 1) / workload.concurrency))
