"""One closed-loop load from start to end: the door to this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from perfgate.errors import LoadError
from perfgate.load.audit import audit_client, find_marks
from perfgate.load.control import Cell
from perfgate.load.parser import parse_exchange, settle_counts
from perfgate.load.planner import (
    output_lengths,
    plan_requests,
    prompts_needed,
    requests_planned,
)
from perfgate.load.process import WorkerProcess
from perfgate.load.spool import Beat, Beats, End, Exchange, Plan, Receiver
from perfgate.load.tensors import fetch_inputs
from perfgate.model import ClientAudit, RequestRecord, Server, Workload

__all__ = ["ClosedLoop", "LoadOutcome", "prompts_needed"]

REQUEST_DEADLINE_S = 120.0
STALL_S = 30.0

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

    A context manager: entering plans the requests and starts the worker process, which connects;
    leaving ends it and removes its files from `spool`, whatever happened.

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
        self._on_progress = on_progress
        self._on_exchange = on_exchange
        self._deadline_s = request_deadline_s
        self._stall_s = stall_s
        self._rounds: list[int] = []
        self._told = -1
        self._stack = ExitStack()
        self._process: WorkerProcess | None = None

    def __enter__(self) -> Self:
        """Plan the requests, start the worker, connect it."""
        self._process = self._stack.enter_context(WorkerProcess(self._plan(), self._spool))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process and no file behind."""
        self._stack.close()

    @property
    def completed(self) -> int:
        """Requests of the ramp that have ended, and requests of the rounds."""
        worker = self._worker
        ramp = self._ramp * self._workload.concurrency
        if worker[Cell.RAMPED] < self._workload.concurrency:
            return min(worker[Cell.FINISHED], ramp - 1)
        return ramp + worker[Cell.FINISHED] - worker[Cell.FINISHED_AT_MARK]

    def ramp_up(self) -> None:
        """Start the clock; return when every client has ended the requests of its ramp."""
        self._worker.start_clock()
        self._wait_for(self._ramp * self._workload.concurrency)

    def round(self, requests: int) -> None:
        """Return when `requests` more have ended since the ramp or the round before."""
        self._rounds.append(requests)
        self._wait_for(self._ramp * self._workload.concurrency + sum(self._rounds))

    def finish(self) -> LoadOutcome:
        """Let the requests in flight end, stop the load and parse what the worker recorded."""
        self._worker.drain()
        self._worker.stop()
        records, beats, faults = self._read_back()
        marks_ns = find_marks(records, self._workload.concurrency, self._rounds, ramp=self._ramp)
        window = (marks_ns[0], marks_ns[-1]) if len(marks_ns) > 1 else None
        return LoadOutcome(
            records=records,
            marks_ns=marks_ns,
            audit=audit_client(records, beats, window),
            faults=tuple(faults),
        )

    @property
    def _worker(self) -> WorkerProcess:
        if self._process is None:
            msg = "the load is not running: use ClosedLoop as a context manager"
            raise LoadError(msg)
        return self._process

    def _plan(self) -> Plan:
        inputs = fetch_inputs(self._server.grpc_url, self._server.model)
        return Plan(
            address=self._server.grpc_url,
            receiver=self._receiver,
            concurrency=self._workload.concurrency,
            ramp=self._ramp,
            deadline_s=self._deadline_s,
            stall_s=self._stall_s,
            requests=plan_requests(self._workload, self._prompts, inputs),
        )

    def _wait_for(self, completed: int) -> None:
        self._worker.wait_until(lambda: self._tell() >= completed)

    def _tell(self) -> int:
        completed = self.completed
        if self._on_progress is not None and completed != self._told:
            self._told = completed
            total = requests_planned(self._workload, len(self._prompts))
            self._on_progress(min(completed, total), total)
        return completed

    def _read_back(self) -> tuple[tuple[RequestRecord, ...], list[Beat], list[str]]:
        expected = output_lengths(self._workload, len(self._prompts))
        records: list[RequestRecord] = []
        beats: list[Beat] = []
        faults: list[str] = []
        for frame in self._worker.frames():
            match frame:
                case Exchange():
                    if self._on_exchange is not None:
                        self._on_exchange(frame)
                    records.append(parse_exchange(frame, expected[frame.index]))
                case Beats():
                    beats.extend(frame.beats)
                case End():
                    faults.extend(frame.faults)
        return settle_counts(records), beats, faults
