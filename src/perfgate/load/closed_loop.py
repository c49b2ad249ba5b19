"""One closed-loop load from start to end: the door to this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from perfgate.errors import LoadError, UsageError
from perfgate.load.audit import audit_client, combine, find_marks
from perfgate.load.control import Cell
from perfgate.load.dialects import Dialect, learn_dialect
from perfgate.load.fleet import Crew, Fleet, Worker, here
from perfgate.load.parser import parse_exchange, settle_counts
from perfgate.load.planner import (
    output_lengths,
    plan_requests,
    prompts_needed,
    requests_planned,
)
from perfgate.load.spool import Beat, Beats, End, Exchange, Plan, Receiver
from perfgate.model import ClientAudit, Protocol, RequestRecord, Server, Workload

__all__ = ["ClosedLoop", "LoadOutcome", "prompts_needed"]

REQUEST_DEADLINE_S = 120.0
STALL_S = 30.0
ONE_WORKER = here()

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """What a load left behind: records in order of ending, and the bounds of its rounds."""

    records: tuple[RequestRecord, ...]
    marks_ns: tuple[int, ...]
    audit: ClientAudit
    faults: tuple[str, ...]


class ClosedLoop:
    """A load of `workload.concurrency` clients, each with one request in flight at all times.

    A context manager: entering plans the requests and starts the workers (`crew`, by default one
    process here), which connect; leaving ends them and removes their files from `spool`, whatever
    happened.

        with ClosedLoop(server, workload, prompts, spool=folder) as load:
            load.ramp_up()
            load.round(160)
            outcome = load.finish()

    Entering, `ramp_up` and `round` raise LoadError as soon as the load cannot go on, say because
    the server died; `finish` still returns what was recorded until then, with the faults.
    `on_progress(done, total)` is called while they wait, whenever a request has ended;
    `on_exchange` is shown each request's raw messages when they are parsed.
    """

    def __init__(
        self,
        server: Server,
        workload: Workload,
        prompts: Sequence[str],
        *,
        spool: Path,
        ramp: int = 1,
        receiver: Receiver = Receiver.FAST,
        crew: Crew = ONE_WORKER,
        on_progress: Progress | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        request_deadline_s: float = REQUEST_DEADLINE_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._server = server
        self._workload = workload
        self._prompts = prompts
        self._spool = spool
        self._ramp = ramp
        self._receiver = receiver
        self._crew = crew
        self._on_progress = on_progress
        self._on_exchange = on_exchange
        self._deadline_s = request_deadline_s
        self._stall_s = stall_s
        self._rounds: list[int] = []
        self._dialect: Dialect
        self._told = -1
        self._stack = ExitStack()
        self._fleet: Fleet | None = None
        self._finished_at_mark: int | None = None

    def __enter__(self) -> Self:
        """Plan the requests, start the workers, connect them."""
        self._fleet = self._stack.enter_context(Fleet(self._crew(self._plan(), self._spool)))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process and no file behind."""
        self._stack.close()

    @property
    def completed(self) -> int:
        """Requests of the ramp that have ended, and requests of the rounds."""
        ramp = self._ramp * self._workload.concurrency
        if self._finished_at_mark is None:
            if self._workers[Cell.RAMPED] < self._workload.concurrency:
                return min(self._workers[Cell.FINISHED], ramp - 1)
            # Seen a moment late, so that rounds wait for a few requests more, never for fewer.
            self._finished_at_mark = self._workers[Cell.FINISHED]
        return ramp + self._workers[Cell.FINISHED] - self._finished_at_mark

    def ramp_up(self) -> None:
        """Start the clock; return when every client has ended the requests of its ramp."""
        self._workers.start_clock()
        self._wait_for(self._ramp * self._workload.concurrency)

    def round(self, requests: int) -> None:
        """Return when `requests` more have ended since the ramp or the round before."""
        self._rounds.append(requests)
        self._wait_for(self._ramp * self._workload.concurrency + sum(self._rounds))

    def finish(self) -> LoadOutcome:
        """Let the requests in flight end, stop the load and parse what the worker recorded."""
        self._workers.drain()
        self._workers.stop()
        heard = self._read_back()
        merged = (record for one in heard for record in one.records)
        records = settle_counts(sorted(merged, key=lambda record: record.finished_ns))
        marks_ns = find_marks(records, self._workload.concurrency, self._rounds, ramp=self._ramp)
        window = (marks_ns[0], marks_ns[-1]) if len(marks_ns) > 1 else None
        return LoadOutcome(
            records=records,
            marks_ns=marks_ns,
            audit=combine([one.audit(window) for one in heard]),
            faults=tuple(fault for one in heard for fault in one.faults),
        )

    @property
    def _workers(self) -> Fleet:
        if self._fleet is None:
            msg = "the load is not running: use ClosedLoop as a context manager"
            raise LoadError(msg)
        return self._fleet

    def _plan(self) -> Plan:
        if self._receiver is Receiver.GRPC and self._server.protocol is not Protocol.GRPC:
            rule = f"it speaks gRPC alone, and the server is asked by {self._server.protocol}"
            raise UsageError("receiver", str(self._receiver), rule)
        self._dialect = learn_dialect(self._server)
        return Plan(
            address=self._dialect.address,
            protocol=self._server.protocol,
            receiver=self._receiver,
            concurrency=self._workload.concurrency,
            ramp=self._ramp,
            deadline_s=self._deadline_s,
            stall_s=self._stall_s,
            requests=plan_requests(self._workload, self._prompts, self._dialect.serialise),
        )

    def _wait_for(self, completed: int) -> None:
        self._workers.wait_until(lambda: self._tell() >= completed)

    def _tell(self) -> int:
        completed = self.completed
        if self._on_progress is not None and completed != self._told:
            self._told = completed
            total = requests_planned(self._workload, len(self._prompts))
            self._on_progress(min(completed, total), total)
        return completed

    def _read_back(self) -> list[_Heard]:
        expected = output_lengths(self._workload, len(self._prompts))
        heard = {id(worker): _Heard(worker) for worker in self._workers.workers}
        for worker, frame in self._workers.frames():
            match frame:
                case Exchange():
                    if self._on_exchange is not None:
                        self._on_exchange(frame)
                    record = parse_exchange(frame, expected[frame.index], self._dialect.read)
                    heard[id(worker)].records.append(record)
                case Beats():
                    heard[id(worker)].beats.extend(frame.beats)
                case End():
                    heard[id(worker)].faults.extend(frame.faults)
        return list(heard.values())


class _Heard:
    """What one worker brought back."""

    def __init__(self, worker: Worker) -> None:
        self.records: list[RequestRecord] = []
        self.beats: list[Beat] = []
        self.faults: list[str] = []
        self._worker = worker

    def audit(self, bounds_ns: tuple[int, int] | None) -> ClientAudit:
        return replace(
            audit_client(self.records, self.beats, bounds_ns),
            host=self._worker.host,
            clock_uncertainty_s=self._worker.clock_uncertainty_s,
        )
