"""The workers of one load: they start at one time, and none may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol, Self

from perfgate.errors import LoadError
from perfgate.load.control import Cell
from perfgate.load.process import POLL_S, WorkerProcess
from perfgate.load.shards import renumber, shard
from perfgate.load.spool import Exchange, Frame, Plan


class Worker(Protocol):
    """One worker, here or on another machine; all its times are of this machine's clock."""

    @property
    def host(self) -> str:
        """Which machine, if not this one."""

    @property
    def clock_uncertainty_s(self) -> float:
        """How far its times may be off."""

    @property
    def start_lead_s(self) -> float:
        """How long before the start it has to know of it."""

    def __enter__(self) -> object:
        """Start and connect it; LoadError if it cannot."""

    def __exit__(self, *_: object) -> None:
        """End it and remove what it left."""

    def __getitem__(self, cell: Cell) -> int:
        """Read one of its counters."""

    def start_clock(self, start_ns: int) -> None:
        """Let the first requests go at `start_ns`."""

    def drain(self) -> None:
        """Tell it to end once the requests in flight have."""

    @property
    def ended(self) -> bool:
        """Whether it is gone, by its own will or not."""

    def require_alive(self) -> None:
        """Raise LoadError if it has ended or stands still."""

    def stop(self) -> None:
        """End it at once."""

    def frames(self) -> Iterator[Frame]:
        """Yield what it recorded; once it has ended the last frame is an End."""


Crew = Callable[[Plan, Path], Sequence[Worker]]
"""Who drives a plan, with a folder for their files."""


def here(workers: int = 1) -> Crew:
    """So many worker processes on this machine."""

    def crew(plan: Plan, spool: Path) -> Sequence[Worker]:
        return [WorkerProcess(one, spool) for one in shard(plan, workers)]

    return crew


class Fleet:
    """The workers, as one: a context manager that connects all and leaves none behind."""

    def __init__(self, workers: Sequence[Worker], *, turns: int = 1) -> None:
        self.workers = workers
        self._turns = turns
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start and connect every worker; LoadError if one cannot."""
        with ExitStack() as stack:
            for worker in self.workers:
                stack.enter_context(worker)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker."""
        self._stack.close()

    def __getitem__(self, cell: Cell) -> int:
        """Sum up a counter over all workers."""
        return sum(worker[cell] for worker in self.workers)

    def start_clock(self) -> None:
        """Let the first requests of all workers go at the same time."""
        lead_s = max(worker.start_lead_s for worker in self.workers)
        start_ns = time.perf_counter_ns() + int(lead_s * 1e9)
        for worker in self.workers:
            worker.start_clock(start_ns)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Return when `reached`; LoadError as soon as one worker is lost: the load is smaller."""
        while not reached():
            for worker in self.workers:
                worker.require_alive()
            time.sleep(POLL_S)  # workers count in shared memory, which wakes nobody

    def drain(self) -> None:
        """Return when the requests in flight have ended, and the workers with them.

        What a worker that is lost meanwhile has to say is in its last frame.
        """
        for worker in self.workers:
            worker.drain()
        while running := [worker for worker in self.workers if not worker.ended]:
            for worker in running:
                with suppress(LoadError):
                    worker.require_alive()
            time.sleep(POLL_S)  # one that stands still has to be noticed, too: no plain wait

    def stop(self) -> None:
        """End every worker at once."""
        for worker in self.workers:
            worker.stop()

    def frames(self) -> Iterator[tuple[Worker, Frame]]:
        """Yield what each worker recorded, with the numbers of the whole load."""
        for number, worker in enumerate(self.workers):
            for frame in worker.frames():
                if isinstance(frame, Exchange):
                    renumber(frame, number, len(self.workers), turns=self._turns)
                yield worker, frame
