"""A few counters that the worker writes and the parent reads, in a memory-mapped file.

No queue, no pipe, no lock: an aligned 8-byte store needs none, and a worker that dies leaves the
last value behind instead of a parent that waits.
"""

from __future__ import annotations

import mmap
from enum import IntEnum
from pathlib import Path

_CELL_BYTES = 8


class Cell(IntEnum):
    """What each counter says."""

    READY = 0  # 1 once every channel is connected
    BEAT_NS = 1  # when the worker's event loop last turned
    FINISHED = 2  # requests that have ended, however they ended
    RAMPED = 3  # clients that have ended the requests of their ramp
    START_NS = 4  # when the first requests go: the one counter that the parent writes


class ControlBlock:
    """The counters, by name."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), len(Cell) * _CELL_BYTES)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, path: Path) -> ControlBlock:
        """Make the file with all counters at zero."""
        path.write_bytes(bytes(len(Cell) * _CELL_BYTES))
        return cls(path)

    def __getitem__(self, cell: Cell) -> int:
        """Read one counter."""
        return self._cells[cell]

    def __setitem__(self, cell: Cell, value: int) -> None:
        """Set one counter."""
        self._cells[cell] = value

    def close(self) -> None:
        """Unmap; the file stays for whoever owns the folder."""
        self._cells.release()
        self._map.close()
