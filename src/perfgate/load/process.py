"""The parent's hold on a worker process: it starts, is waited for, and always ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import perfgate
from perfgate.errors import LoadError
from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import (
    CONTROL_FILE,
    DRAIN,
    LOG_FILE,
    PLAN_FILE,
    SPOOL_FILE,
    START,
    End,
    Frame,
    Plan,
    SpoolReader,
    write_plan,
)

START_S = 30.0
STOP_S = 10.0
FROZEN_S = 20.0
POLL_S = 0.005
_LOG_TAIL = 400


class WorkerProcess:
    """One worker with its plan, in a folder of its own inside `spool`.

    A context manager: entering returns when the worker is connected and waits for the start;
    leaving ends it and removes the folder. The worker is a fresh interpreter, never a fork,
    which would copy half of this process's gRPC threads.
    """

    start_lead_s = 0.05  # until the start is known to all workers

    def __init__(self, plan: Plan, spool: Path) -> None:
        self._plan = plan
        self._parent = spool
        self._folder = spool
        self._killed = ""
        self.host = ""
        self.clock_uncertainty_s = 0.0

    def __enter__(self) -> Self:
        """Start the worker and connect it; LoadError if it cannot."""
        self._parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="load-", dir=self._parent))
        self._reader = SpoolReader(self.spool)
        try:
            write_plan(self._folder / PLAN_FILE, self._plan)
            self._control = ControlBlock.create(self._folder / CONTROL_FILE)
            self._process = self._spawn()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker and remove its files."""
        self.stop()
        self._control.close()
        shutil.rmtree(self._folder)

    def __getitem__(self, cell: Cell) -> int:
        """Read one of the worker's counters."""
        return self._control[cell]

    def start_clock(self, start_ns: int) -> None:
        """Let the first requests go at `start_ns`."""
        self._control[Cell.START_NS] = start_ns
        self._say(START)

    def drain(self) -> None:
        """Tell the worker to end once the requests in flight have."""
        self._say(DRAIN)

    @property
    def ended(self) -> bool:
        """Whether the worker is gone, by its own will or not."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the worker: by its own will, else by force."""
        assert self._process.stdin is not None  # noqa: S101 - Popen was asked for a pipe
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill(f"the load worker did not stop within {STOP_S:g} s and was killed")

    def frames(self) -> Iterator[Frame]:
        """Yield what the worker has recorded since the last frame that was yielded.

        Once it has ended the last frame is an End, made up if it wrote none.
        """
        ended = self.ended
        frame: Frame | None = None
        for frame in self._reader:
            yield frame
        if ended and not isinstance(frame, End):
            yield End([self.last_word()])

    def last_word(self) -> str:
        """What is to be said of a worker that is gone without a word of its own."""
        code = self._process.poll()
        died = f"the load worker died in mid-run (exit code {code}). {self._log_tail()}".strip()
        return self._killed or died

    @property
    def spool(self) -> Path:
        """Where it records."""
        return self._folder / SPOOL_FILE

    def _say(self, word: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - Popen was asked for a pipe
        with suppress(BrokenPipeError):  # it died: whoever waits for it next will learn why
            self._process.stdin.write(word)

    def _spawn(self) -> subprocess.Popen[bytes]:
        source = str(Path(perfgate.__file__).parents[1])
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        with (self._folder / LOG_FILE).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "perfgate.load.worker", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": path},
            )

    def _wait_until_ready(self) -> None:
        limit = time.monotonic() + START_S
        while not self[Cell.READY]:
            self.require_alive()
            if time.monotonic() > limit:
                msg = f"the load worker was not ready within {START_S:g} s. {self._log_tail()}"
                raise LoadError(msg)
            time.sleep(POLL_S)  # it counts in shared memory, which wakes nobody

    def require_alive(self) -> None:
        """Raise LoadError if the worker has ended, or its event loop stands still."""
        if self.ended:
            raise LoadError(self._explain_end())
        beat_ns = self[Cell.BEAT_NS]
        if beat_ns and time.perf_counter_ns() - beat_ns > FROZEN_S * 1e9:
            self._kill(f"the load worker stood still for {FROZEN_S:g} s and was killed")
            raise LoadError(self._killed)

    def _kill(self, why: str) -> None:
        self._killed = why
        self._process.kill()
        self._process.wait()

    def _explain_end(self) -> str:
        ends = [frame for frame in SpoolReader(self.spool) if isinstance(frame, End)]
        faults = ends[-1].faults if ends else [self.last_word()]
        return f"the load ended early: {'; '.join(faults)}"

    def _log_tail(self) -> str:
        text = (self._folder / LOG_FILE).read_text(errors="replace").strip()
        return text[-_LOG_TAIL:]
