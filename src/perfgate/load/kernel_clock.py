"""When bytes reached this machine, by the kernel's own stamp, on the clock of all records.

With SO_TIMESTAMPNS the kernel tells with each read when the packet came, however late the reader
is. It tells it in wall-clock time; records use the monotonic clock. Both run at one rate (NTP
slews them together), so one offset holds until somebody sets the wall clock, which is noticed.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from time import perf_counter_ns, time_ns
from typing import Final

STEP_NS: Final = 100_000

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python's socket module does not name it
_TIMESPEC: Final = struct.Struct("@qq")
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)
_TRIES: Final = 50

Ancillary = Sequence[tuple[int, int, bytes]]
Clock = Callable[[], int]


def request_stamps(sock: socket.socket) -> None:
    """Ask the kernel to stamp what this socket receives."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


class KernelClock:
    """Turns the kernel's stamps into times of `time.perf_counter_ns`."""

    def __init__(self, wall: Clock = time_ns, monotonic: Clock = perf_counter_ns) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ns = self._measure_offset()

    def stamp(self, ancillary: Ancillary, now_ns: int) -> int:
        """When the bytes of a read came; `now_ns` where the kernel did not tell.

        The first packets of a connection may carry none: the kernel begins to stamp when the
        first socket asks for it.
        """
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                came_ns: int = seconds * 1_000_000_000 + nanoseconds - self._offset_ns
                return min(now_ns, came_ns)
        return now_ns

    def stepped_ns(self) -> int:
        """How far the wall clock has been set since the start; 0 if it was left alone."""
        step_ns = self._measure_offset() - self._offset_ns
        return step_ns if abs(step_ns) > STEP_NS else 0

    def _measure_offset(self) -> int:
        """Wall clock minus monotonic clock, from the reading that took least time."""
        readings = []
        for _ in range(_TRIES):
            before = self._monotonic()
            wall = self._wall()
            after = self._monotonic()
            readings.append((after - before, wall - (before + after) // 2))
        return min(readings)[1]
