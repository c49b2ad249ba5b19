"""How late the worker's event loop turns: what sends suffer too, measured all the time."""

from __future__ import annotations

import os
import resource
from time import perf_counter_ns, sleep
from typing import Final

from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import Beat, Beats, SpoolWriter

PERIOD_NS: Final = 5_000_000
BEATS_PER_FRAME: Final = 200
_LINE_BYTES: Final = 256
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Heartbeat:
    """Records, on a fixed grid, how late the event loop came to each beat.

    The grid is absolute, so that a long stall is charged to every beat it swallowed, not to one.
    """

    def __init__(self, spool: SpoolWriter, control: ControlBlock) -> None:
        self._spool = spool
        self._control = control
        self._beats: list[Beat] = []
        self._scheduler = Scheduler()
        self._stolen_ns = self._scheduler.stolen_ns()
        self.due_ns = 0

    def await_start(self) -> int:
        """Return, no sooner, the time at which all workers send their first requests."""
        start_ns = self._control[Cell.START_NS]
        while (left_ns := start_ns - perf_counter_ns()) > 0:
            sleep(left_ns / 1e9)
        return start_ns

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
                voluntary_switches=usage.ru_nvcsw,
                waited_ns=self._scheduler.waited_ns(),
                stolen_ns=self._stolen_ns,
            )
        )
        if len(self._beats) == BEATS_PER_FRAME:
            self._stolen_ns = self._scheduler.stolen_ns()
            self.flush()


class Scheduler:
    """What Linux tells of the time that this process and this machine did not get."""

    def __init__(self) -> None:
        self._own = _open("/proc/self/schedstat")
        self._machine = _open("/proc/stat")

    def waited_ns(self) -> int:
        """How long the main thread has been ready to run without a core; 0 if not told."""
        # Three numbers: time on a core, time waiting for one, and how often it had one.
        return int(_read(self._own).split()[1]) if self._own is not None else 0

    def stolen_ns(self) -> int:
        """What the hypervisor has taken from each core, on average; 0 if not told.

        The kernel writes the whole file anew for each reading: ask once a second.
        """
        if self._machine is None:
            return 0
        # The first line: cpu user nice system idle iowait irq softirq steal ...
        return int(_read(self._machine).split(maxsplit=9)[8]) * _TICK_NS // (os.cpu_count() or 1)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, _LINE_BYTES, 0)
