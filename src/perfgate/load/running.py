"""One load from start to end: the door to this package."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from perfgate.dilation import stretch
from perfgate.errors import LoadError, UsageError
from perfgate.load.audit import audit_client, combine
from perfgate.load.control import Cell
from perfgate.load.dialects import Dialect, learn_dialect
from perfgate.load.fleet import Crew, Fleet, Worker, here
from perfgate.load.parser import parse_exchange, settle_counts
from perfgate.load.planner import (
    plan_requests,
    prompts_needed,
    requests_planned,
)
from perfgate.load.spool import Beat, Beats, End, Exchange, Plan, Receiver
from perfgate.model import ClientAudit, Protocol, RequestRecord, Server, Workload
from perfgate.traffic.backlog import LATE_SEND_NS, held_back
from perfgate.traffic.pace import NEVER
from perfgate.traffic.rounds import find_marks
from perfgate.traffic.schedule import Schedule, plan_schedule

__all__ = ["LoadOutcome", "RunningLoad", "prompts_needed"]

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


class RunningLoad:
    """A load while it runs: `workload.concurrency` clients of at most one request in flight each.

    In a closed loop it is always one; in an open loop, that of a workload with arrivals, whoever is
    free sends what is due.

    A context manager: entering plans the requests and starts the workers (`crew`, by default one
    process here), which connect; leaving ends them and removes their files from `spool`, whatever
    happened.

        with RunningLoad(server, workload, prompts, spool=folder) as load:
            load.ramp_up()
            load.round(160)
            outcome = load.finish()

    Entering, `ramp_up` and `round` raise LoadError as soon as the load cannot go on, say because
    the server died; `finish` still returns what was recorded until then, with the faults.
    `schedule` is drawn from the workload unless it is given, as a replay's must be. The ramp is
    over when each client has ended `ramp` requests, in an open loop when all together have.
    `on_progress(done, total)` is called while they wait, whenever a request has ended;
    `on_exchange` is shown each request's raw messages when they are parsed. All times asked for are
    the engine's, which runs `time_dilation` times slower than real time; what is recorded are this
    machine's.
    """

    def __init__(
        self,
        server: Server,
        workload: Workload,
        prompts: Sequence[str],
        *,
        spool: Path,
        schedule: Schedule | None = None,
        ramp: int = 1,
        receiver: Receiver = Receiver.FAST,
        crew: Crew = ONE_WORKER,
        on_progress: Progress | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        request_deadline_s: float = REQUEST_DEADLINE_S,
        stall_s: float = STALL_S,
        time_dilation: int = 1,
    ) -> None:
        self._server = server
        planned = schedule or plan_schedule(workload, len(prompts))
        self._workload, self._schedule = stretch(workload, planned, time_dilation)
        self._prompts = prompts
        self._spool = spool
        self._ramp = ramp
        self._receiver = receiver
        self._crew = crew
        self._on_progress = on_progress
        self._on_exchange = on_exchange
        self._deadline_s = request_deadline_s * time_dilation
        self._stall_s = stall_s * time_dilation
        self._late_send_ns = LATE_SEND_NS * time_dilation
        self._dilation = time_dilation
        self._rounds: list[int] = []
        self._cuts_ns: dict[int, int] = {}
        self._dialect: Dialect
        self._target = 0
        self._told = -1
        self._stack = ExitStack()
        self._fleet: Fleet | None = None
        self._finished_at_mark: int | None = None

    def __enter__(self) -> Self:
        """Plan the requests, start the workers, connect them."""
        self._fleet = self._stack.enter_context(
            Fleet(self._crew(self._plan(), self._spool), turns=self._workload.turns)
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process and no file behind."""
        self._stack.close()

    @property
    def completed(self) -> int:
        """Requests of the ramp that have ended, and requests of the rounds."""
        if self._clients is None:
            return self._workers[Cell.FINISHED]
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
        self._target = self._ramp * (self._clients or 1)
        self._workers.wait_until(lambda: self._tell() >= self._target)
        if self._clients is None:
            self._target = self.completed  # some may have ended together

    def round(self, requests: int, seconds: float | None = None) -> float:
        """Wait until `requests` more have ended since the ramp or the round before.

        With `seconds`, wait so long at the most. Returns the requests per second, for whoever
        decides how many rounds there are to be; the records tell it more exactly.
        """
        self._rounds.append(requests)
        begun, begun_ns = self._target, time.perf_counter_ns()
        self._target += requests
        until_ns = begun_ns + int(seconds * self._dilation * 1e9) if seconds else NEVER
        self._workers.wait_until(
            lambda: self._tell() >= self._target or time.perf_counter_ns() >= until_ns
        )
        if (ended := self.completed) < self._target:
            self._cuts_ns[len(self._rounds) - 1] = until_ns
            self._target = ended
        return (self._target - begun) * 1e9 / (time.perf_counter_ns() - begun_ns)

    def finish(self) -> LoadOutcome:
        """Let the requests in flight end, stop the load and parse what the worker recorded."""
        self._workers.drain()
        self._workers.stop()
        heard = self._read_back()
        merged = (record for one in heard for record in one.records)
        records = settle_counts(sorted(merged, key=lambda record: record.finished_ns))
        marks_ns = find_marks(
            records, self._clients, self._rounds, ramp=self._ramp, cuts_ns=self._cuts_ns
        )
        window = (marks_ns[0], marks_ns[-1]) if len(marks_ns) > 1 else None
        open_loop = self._clients is None
        late_ns, streams = self._late_send_ns, self._workload.concurrency
        held = held_back(records, streams, late_ns=late_ns) if open_loop else frozenset()
        return LoadOutcome(
            records=records,
            marks_ns=marks_ns,
            audit=combine([one.audit(window, held, late_ns) for one in heard]),
            faults=tuple(fault for one in heard for fault in one.faults),
        )

    @property
    def _clients(self) -> int | None:
        """Who has requests of its own: the clients of a closed loop; none of an open one."""
        return self._workload.concurrency if self._workload.arrivals is None else None

    @property
    def _workers(self) -> Fleet:
        if self._fleet is None:
            msg = "the load is not running: use RunningLoad as a context manager"
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
            requests=plan_requests(
                self._workload, self._schedule, self._prompts, self._dialect.serialise
            ),
            due_ns=self._schedule.due_ns,
            turns=self._workload.turns,
            think_ns=round(self._workload.think_s * 1e9),
        )

    def _tell(self) -> int:
        completed = self.completed
        if self._on_progress is not None and completed != self._told:
            self._told = completed
            total = requests_planned(self._workload, len(self._prompts))
            self._on_progress(min(completed, total), total)
        return completed

    def _read_back(self) -> list[_Heard]:
        schedule, mixed = self._schedule, not self._workload.uniform
        heard = {id(worker): _Heard(worker) for worker in self._workers.workers}
        for worker, frame in self._workers.frames():
            match frame:
                case Exchange():
                    if self._on_exchange is not None:
                        self._on_exchange(frame)
                    record = parse_exchange(frame, schedule.osl[frame.index], self._dialect.read)
                    described = schedule.describe(record) if mixed else record
                    heard[id(worker)].records.append(described)
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

    def audit(
        self, bounds_ns: tuple[int, int] | None, held: frozenset[int], late_ns: int
    ) -> ClientAudit:
        return replace(
            audit_client(self.records, self.beats, bounds_ns, held=held, late_ns=late_ns),
            host=self._worker.host,
            clock_uncertainty_s=self._worker.clock_uncertainty_s,
        )
