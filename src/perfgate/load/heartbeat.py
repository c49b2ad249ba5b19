"""How late the worker's event loop turns: what sends suffer too, measured all the time."""

from __future__ import annotations

import resource
from time import perf_counter_ns
from typing import Final

from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import Beat, Beats, SpoolWriter

PERIOD_NS: Final = 5_000_000
BEATS_PER_FRAME: Final = 200


class Heartbeat:
    """Records, on a fixed grid, how late the event loop came to each beat.

    The grid is absolute, so that a long stall is charged to every beat it swallowed, not to one.
    """

    def __init__(self, spool: SpoolWriter, control: ControlBlock) -> None:
        self._spool = spool
        self._control = control
        self._beats: list[Beat] = []
        self.due_ns = 0

    def start(self, now_ns: int) -> None:
        """Lay the grid: the first beat is due a period from now."""
        self.due_ns = now_ns + PERIOD_NS

    def beat(self) -> None:
        """Take every beat that is due; call it at `due_ns` or whenever the loop comes round."""
        while self.due_ns <= perf_counter_ns():
            self._take(self.due_ns)
            self.due_ns += PERIOD_NS

    def flush(self) -> None:
        """Spool the beats taken since the last full frame."""
        if self._beats:
            self._spool.write(Beats(self._beats))
            self._beats = []

    def _take(self, due_ns: int) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now_ns = perf_counter_ns()
        self._control[Cell.BEAT_NS] = now_ns
        self._beats.append(
            Beat(
                at_ns=now_ns,
                lag_ns=now_ns - due_ns,
                cpu_ns=int((usage.ru_utime + usage.ru_stime) * 1e9),
                involuntary_switches=usage.ru_nivcsw,
            )
        )
        if len(self._beats) == BEATS_PER_FRAME:
            self.flush()
