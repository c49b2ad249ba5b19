"""The steady window: between the end of the ramp and the end of the last round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perfgate.errors import NoSamplesError
from perfgate.model import LoadRun, RequestRecord, RequestStatus

Nanoseconds = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """The bounds of the rounds, every record, and those that ended well inside.

    The window is open at its start and closed at its end: the request whose end is the first
    mark belongs to the ramp, the one whose end is the last mark to the last round.
    """

    marks_ns: tuple[int, ...]
    records: tuple[RequestRecord, ...]

    @property
    def start_ns(self) -> int:
        """When the ramp was over."""
        return self.marks_ns[0]

    @property
    def end_ns(self) -> int:
        """When the last round was over."""
        return self.marks_ns[-1]

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ns - self.start_ns) / 1e9

    @cached_property
    def finished(self) -> tuple[RequestRecord, ...]:
        """The requests that ended well inside; none of them is a short first one."""
        return tuple(
            record
            for record in self.records
            if record.status is RequestStatus.OK
            and self.start_ns < record.finished_ns <= self.end_ns
        )

    @cached_property
    def arrivals(self) -> tuple[Nanoseconds, NDArray[np.int64]]:
        """When messages with tokens came in, and how many tokens each held, of all requests.

        Those still in flight count too: their tokens were delivered inside the window.
        """
        times = _joined([record.arrivals_ns for record in self.records])
        tokens = _joined([record.tokens for record in self.records])
        return times, tokens

    def tokens_between(self, start_ns: int, end_ns: int) -> int:
        """Tokens that arrived after `start_ns` and not after `end_ns`."""
        times, tokens = self.arrivals
        return int(tokens[(times > start_ns) & (times <= end_ns)].sum())


def steady_window(run: LoadRun) -> Window:
    """Cut the window out of a run.

    Raises NoSamplesError if no round was completed, or none of its requests ended well.
    """
    if len(run.marks_ns) < 2:  # noqa: PLR2004 - a window has two bounds
        msg = f"{run.point.id}: the load ended before its first round was over{_because(run)}"
        raise NoSamplesError(msg)
    window = Window(run.marks_ns, run.records)
    if not window.finished:
        msg = f"{run.point.id}: no request ended well in {window.seconds:.1f} s{_because(run)}"
        raise NoSamplesError(msg)
    return window


def _because(run: LoadRun) -> str:
    errors = [record.error for record in run.records if record.error]
    reasons = (*run.faults, *errors[:1])
    return f": {'; '.join(reasons)}" if reasons else ""


def _joined(parts: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    arrays = [np.array(part, dtype=np.int64) for part in parts]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
