"""The process that drives the load: `python -m perfgate.load.worker FOLDER`.

It speaks with its parent by files (`spool`), counters (`control`) and its standard input: the
first byte starts the clock, the end of input stops the load. So it also stops when the parent
dies. Per message it appends a stamp and the raw bytes; nothing is parsed, logged or queued.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from perfgate.load.clients import Clients
from perfgate.load.control import Cell, ControlBlock
from perfgate.load.heartbeat import Heartbeat
from perfgate.load.spool import (
    CONTROL_FILE,
    PLAN_FILE,
    SPOOL_FILE,
    End,
    Receiver,
    SpoolWriter,
    read_plan,
)

Run = Callable[[Clients, Heartbeat, Callable[[], None]], None]


def drive(folder: Path) -> None:
    """Run the plan in `folder` under the parent's control."""
    plan = read_plan(folder / PLAN_FILE)
    spool = SpoolWriter(folder / SPOOL_FILE)
    control = ControlBlock(folder / CONTROL_FILE)
    clients, heartbeat = Clients(plan, spool, control), Heartbeat(spool, control)

    def ready() -> None:
        # From here to the end nothing is collected: a pause would be read as the server's.
        gc.collect()
        gc.freeze()
        gc.disable()
        control[Cell.READY] = 1

    receiver(plan.receiver)(clients, heartbeat, ready)
    heartbeat.flush()
    spool.write(End(clients.faults, peak_kib()))
    spool.close()


def peak_kib() -> int:
    """The most memory this process has had; getrusage would also count its parent's, until exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


def receiver(kind: Receiver) -> Run:
    """The receiver's `run`; each is imported only where it is used, as grpc alone takes long."""
    match kind:
        case Receiver.GRPC:
            from perfgate.load import grpc_aio  # noqa: PLC0415

            return grpc_aio.run
        case Receiver.FAST:
            from perfgate.load import epoll  # noqa: PLC0415

            return epoll.run


def main(folder: Path) -> None:
    """Drive the load, then leave at once."""
    parent = os.getppid()
    # Ctrl-C reaches the whole process group; stopping in order is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    drive(folder)
    if os.getppid() != parent:  # it was killed: nobody else is left to tidy up
        shutil.rmtree(folder)
    sys.stderr.flush()
    # Everything is on disk. gRPC's exit handlers may wait for a server that is gone.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
