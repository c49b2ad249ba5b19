"""One closed-loop load from start to end: the parent's side of the worker process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import perfgate
from perfgate.errors import LoadError
from perfgate.load.audit import audit_client, find_marks
from perfgate.load.control import Cell, ControlBlock
from perfgate.load.parser import parse
from perfgate.load.planner import output_lengths, plan_requests
from perfgate.load.spool import (
    CONTROL_FILE,
    LOG_FILE,
    PLAN_FILE,
    SPOOL_FILE,
    Beat,
    Beats,
    End,
    Exchange,
    Plan,
    read_spool,
    write_plan,
)
from perfgate.load.tensors import fetch_inputs
from perfgate.model import ClientAudit, RequestRecord, Server, Workload

REQUEST_DEADLINE_S = 120.0
STALL_S = 30.0
START_S = 30.0
STOP_S = 10.0
FROZEN_S = 20.0
_POLL_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """What a load left behind: records in order of ending, and the bounds of its rounds."""

    records: tuple[RequestRecord, ...]
    marks_ns: tuple[int, ...]
    audit: ClientAudit
    faults: tuple[str, ...]


class ClosedLoop:
    """A load of `workload.concurrency` clients, each with one request in flight at all times.

    A context manager: entering plans the requests, starts the worker process and connects it;
    leaving ends that process, whatever happened. `spool` is a folder for its files.

        with ClosedLoop(server, workload, prompts, spool=folder) as load:
            load.ramp_up()
            load.round(160)
            outcome = load.finish()

    `ramp_up` and `round` raise LoadError as soon as the worker has ended by itself, say because
    the server died; `finish` still returns what was recorded until then, with the faults.
    """

    def __init__(
        self,
        server: Server,
        workload: Workload,
        prompts: Sequence[str],
        *,
        spool: Path,
        request_deadline_s: float = REQUEST_DEADLINE_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._server = server
        self._workload = workload
        self._prompts = prompts
        self._folder = spool
        self._deadline_s = request_deadline_s
        self._stall_s = stall_s
        self._expected = output_lengths(workload, len(prompts))
        self._rounds: list[int] = []
        self._faults: list[str] = []
        self._control: ControlBlock | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Plan the requests, start the worker, connect it."""
        self._write_plan()
        try:
            self._start()
            self._wait_for(Cell.READY, 1, within_s=START_S)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind, whatever happened."""
        self._close()

    @property
    def completed(self) -> int:
        """Requests that have ended so far, the ramp's included."""
        return self._cells[Cell.FINISHED]

    def ramp_up(self) -> None:
        """Start the clock; return when every client has ended its first request."""
        assert self._worker.stdin is not None  # noqa: S101 - Popen was asked for a pipe
        self._worker.stdin.write(b"\n")
        self._worker.stdin.flush()
        self._wait_for(Cell.FIRSTS, self._workload.concurrency)

    def round(self, requests: int) -> None:
        """Return when `requests` more have ended since the ramp or the round before."""
        self._rounds.append(requests)
        self._wait_for(Cell.FINISHED, self._cells[Cell.FINISHED_AT_MARK] + sum(self._rounds))

    def finish(self) -> LoadOutcome:
        """Stop the load, end the worker and parse what it recorded."""
        self._stop()
        exchanges, beats, faults = self._read_back()
        records = parse(exchanges, self._expected)
        marks = find_marks(records, self._workload.concurrency, self._rounds)
        window = (marks[0], marks[-1]) if len(marks) > 1 else None
        return LoadOutcome(
            records=records,
            marks_ns=marks,
            audit=audit_client(records, beats, window),
            faults=(*faults, *self._faults),
        )

    # --- The worker process -----------------------------------------------------------------

    @property
    def _worker(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the load is not running: use ClosedLoop as a context manager"
            raise LoadError(msg)
        return self._process

    @property
    def _cells(self) -> ControlBlock:
        if self._control is None:
            msg = "the load is not running: use ClosedLoop as a context manager"
            raise LoadError(msg)
        return self._control

    def _write_plan(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        inputs = fetch_inputs(self._server.grpc_url, self._server.model)
        plan = Plan(
            address=self._server.grpc_url,
            concurrency=self._workload.concurrency,
            deadline_s=self._deadline_s,
            stall_s=self._stall_s,
            requests=plan_requests(self._workload, self._prompts, inputs),
        )
        write_plan(self._folder / PLAN_FILE, plan)

    def _start(self) -> None:
        """Start a fresh interpreter: a fork would copy this process's gRPC threads half."""
        (self._folder / SPOOL_FILE).unlink(missing_ok=True)
        self._control = ControlBlock.create(self._folder / CONTROL_FILE)
        source = str(Path(perfgate.__file__).parents[1])
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        with (self._folder / LOG_FILE).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "perfgate.load.worker", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )

    def _wait_for(self, cell: Cell, value: int, *, within_s: float | None = None) -> None:
        began = time.monotonic()
        while self._cells[cell] < value:
            if self._worker.poll() is not None:
                raise LoadError(self._explain_end())
            if within_s is not None and time.monotonic() - began > within_s:
                msg = f"the load worker was not ready within {within_s:g} s; its log: {self._log}"
                raise LoadError(msg)
            self._check_beat()
            time.sleep(_POLL_S)

    def _check_beat(self) -> None:
        beat_ns = self._cells[Cell.BEAT_NS]
        if beat_ns and time.perf_counter_ns() - beat_ns > FROZEN_S * 1e9:
            self._worker.kill()
            fault = f"the load worker's event loop stood still for {FROZEN_S:g} s and was killed"
            self._faults.append(fault)
            raise LoadError(fault)

    def _explain_end(self) -> str:
        _, _, faults = self._read_back()
        return "the load ended early: " + "; ".join(faults)

    def _stop(self) -> None:
        """End the worker: by its own will, else by force."""
        worker = self._worker
        if worker.stdin is not None and not worker.stdin.closed:
            worker.stdin.close()
        try:
            worker.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._faults.append(f"the load worker did not stop within {STOP_S:g} s and was killed")
            worker.kill()
            worker.wait()

    def _close(self) -> None:
        if self._process is not None:
            self._stop()
            self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None

    # --- What it left -----------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self._folder / LOG_FILE

    def _read_back(self) -> tuple[list[Exchange], list[Beat], list[str]]:
        """Read the spool; a worker that died without a last word is a fault."""
        exchanges: list[Exchange] = []
        beats: list[Beat] = []
        faults: list[str] | None = None
        for frame in read_spool(self._folder / SPOOL_FILE):
            match frame:
                case Exchange():
                    exchanges.append(frame)
                case Beats():
                    beats.extend(frame.beats)
                case End():
                    faults = frame.faults
        if faults is None:
            code = self._worker.poll()
            tail = self._log.read_text(errors="replace").strip()[-300:]
            faults = [f"the load worker died (exit code {code}) in mid-run. {tail}".strip()]
        return exchanges, beats, faults
