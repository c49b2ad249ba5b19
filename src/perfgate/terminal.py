"""What the terminal shows while the rig works: a moving line, or plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from perfgate.model import Cell, OperatingPoint
from perfgate.report.progress import Progress, Step, end_line, start_line, status_line

BOOT_S = 8.0
_UNKNOWN_S = 30.0
_REFRESH_S = 0.2
_ERASE = "\r\x1b[2K"


def plan_steps(points: Iterable[OperatingPoint], cells: Mapping[str, Cell]) -> tuple[Step, ...]:
    """The steps of measuring `points` in this order, with a boot wherever the server changes."""
    steps: list[Step] = []
    serving = None
    for point in points:
        if serving != (point.engine, point.serving):
            serving = (point.engine, point.serving)
            steps.append(Step(name=f"boot Triton with {point.engine.name}", expected_s=BOOT_S))
        cell = cells.get(point.id)
        steps.append(Step(name=f"measure {point.id}", expected_s=expected_s(point, cell)))
    return tuple(steps)


def expected_s(point: OperatingPoint, cell: Cell | None) -> float:
    """How long measuring `point` should take: ramp, rounds, and the last requests, in latencies."""
    if cell is not None and cell.samples:
        latency_s = cell.samples[-1].latency_p50_s
    elif point.claim is not None and point.claim.ceiling_p95_s is not None:
        latency_s = point.claim.ceiling_p95_s
    else:
        return _UNKNOWN_S
    sampling = point.sampling
    waves = sampling.rounds * sampling.round_requests / point.workload.concurrency
    return latency_s * (sampling.ramp + waves + 1) + 2.0


class Stream(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object:
        """Write the text."""

    def flush(self) -> None:
        """Show what was written."""


class TerminalProgress:
    """An observer of the rig that writes to a terminal (one moving line) or a log (plain lines).

    `uncaptured` lifts pytest's capture for the time of one write; `fresh_line` makes sure that
    what we write does not stand behind half a line of pytest's.
    """

    def __init__(
        self,
        stream: Stream,
        plan: tuple[Step, ...],
        *,
        width: int = 80,
        live: bool,
        uncaptured: Callable[[], AbstractContextManager[object]] = nullcontext,
        fresh_line: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._plan = plan
        self._width = width
        self._live = live
        self._uncaptured = uncaptured
        self._fresh_line = fresh_line
        self._clock = clock
        self._started = self._step_started = self._shown = clock()
        self._running = -1
        self._requests: tuple[int, int | None] = (0, None)

    def begin(self, what: str) -> None:
        """Show the step; one that nobody planned (a second boot, say) joins the plan here."""
        self._running += 1
        if self._running >= len(self._plan) or self._plan[self._running].name != what:
            done, later = self._plan[: self._running], self._plan[self._running :]
            self._plan = (*done, Step(name=what, expected_s=BOOT_S), *later)
        self._step_started = self._clock()
        self._requests = (0, None)
        with self._uncaptured():
            self._fresh_line()
        self._write(self._status() if self._live else f"{start_line(self._progress())}\n")

    def expect(self, later: tuple[Step, ...]) -> None:
        """Replace what was planned after the step that runs: some work plans as it goes."""
        self._plan = (*self._plan[: self._running + 1], *later)

    def advance(self, done: int, total: int) -> None:
        """Move the line, at most a few times a second."""
        self._requests = (done, total)
        if self._live and self._clock() - self._shown >= _REFRESH_S:
            self._shown = self._clock()
            self._write(self._status())

    def end(self) -> None:
        """Leave a line that says how long the step took."""
        erase = _ERASE if self._live else ""
        self._write(f"{erase}{end_line(self._progress())}\n")

    def _status(self) -> str:
        return _ERASE + status_line(self._progress(), width=self._width - 1)

    def _progress(self) -> Progress:
        now = self._clock()
        completed, total = self._requests
        return Progress(
            plan=self._plan,
            running=self._running,
            elapsed_s=now - self._started,
            step_elapsed_s=now - self._step_started,
            completed=completed,
            total=total,
        )

    def _write(self, text: str) -> None:
        with self._uncaptured():
            self._stream.write(text)
            self._stream.flush()
