"""What planner, worker and parser hand to each other, as files in one folder.

`plan.msgpack` goes to the worker before the run. `load.spool` comes back: length-prefixed
MessagePack frames, appended as each request ends, so that what a killed worker had finished is
still there. A whole spool ends with an End frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from pathlib import Path

import msgspec

from perfgate.model import Protocol

PLAN_FILE = "plan.msgpack"
SPOOL_FILE = "load.spool"
CONTROL_FILE = "control"
LOG_FILE = "worker.log"

_LENGTH_BYTES = 4


# What the parent says on the worker's standard input; its end means: stop at once.
START = b"g"
DRAIN = b"d"


class Receiver(StrEnum):
    """Which code reads the socket."""

    FAST = "fast"  # our own sockets on epoll, stamped by the kernel
    GRPC = "grpc"  # grpc.aio, stamped when Python reads; speaks gRPC alone


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the worker needs; `perfgate.traffic.pace` says who sends which request when.

    The ramp of a closed loop is over when every client has ended `ramp` requests. `due_ns` counts
    from the start and makes the loop an open one. `numbers` are the clients' own in the whole load,
    of which this may be a part; empty if it is the whole.
    """

    address: str
    protocol: Protocol = Protocol.GRPC
    receiver: Receiver
    concurrency: int
    ramp: int
    deadline_s: float
    stall_s: float
    requests: list[bytes]
    due_ns: tuple[int, ...] = ()
    turns: int = 1
    think_ns: int = 0
    numbers: tuple[int, ...] = ()


class Ending(IntEnum):
    """Why a request's exchange of messages ended."""

    FINAL = 0  # the server said that this was its last response
    REFUSED = 1  # the server answered with an error message, which the last message holds
    BROKEN = 2  # the stream ended or failed before the final response
    DEADLINE = 3  # the client gave up waiting
    STOPPED = 4  # the load was stopped first


class Exchange(msgspec.Struct, tag="exchange", array_like=True, kw_only=True):
    """One request as it happened: raw messages with the time at which each was read."""

    index: int
    client: int
    due_ns: int
    sent_ns: int = 0
    finished_ns: int = 0
    ending: Ending = Ending.STOPPED
    error: str = ""
    stamps_ns: list[int] = []
    messages: list[bytes] = []


class Beat(msgspec.Struct, tag="beat", array_like=True, frozen=True, kw_only=True):
    """One turn of the worker's heartbeat: how late it was, and what the process had used.

    `waited_ns` is how long it had been ready to run without a core, `stolen_ns` what the hypervisor
    had taken from each of the machine's cores, on average; 0 where the kernel does not tell.
    """

    at_ns: int
    lag_ns: int
    cpu_ns: int
    involuntary_switches: int
    voluntary_switches: int = 0
    waited_ns: int = 0
    stolen_ns: int = 0


class Beats(msgspec.Struct, tag="beats", array_like=True, frozen=True):
    """Some seconds of heartbeats."""

    beats: list[Beat]


class End(msgspec.Struct, tag="end", array_like=True, frozen=True):
    """The worker's last word: why it ended on its own, if it did, and its greatest memory."""

    faults: list[str]
    peak_kib: int = 0


Frame = Exchange | Beats | End

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


class SpoolWriter:
    """Appends frames, unbuffered: what was written survives the writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def write(self, frame: Frame) -> None:
        """Append one frame in one system call."""
        body = _encoder.encode(frame)
        self._file.write(len(body).to_bytes(_LENGTH_BYTES, "little") + body)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SpoolReader:
    """Reads whole frames in order, also while the worker still writes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames written since the last that was yielded.

        A frame that is not whole, yet or for ever, is left out.
        """
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while len(prefix := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
                length = int.from_bytes(prefix, "little")
                body = file.read(length)
                if len(body) < length:
                    return
                self._offset += _LENGTH_BYTES + length
                yield _decoder.decode(body)


def write_plan(path: Path, plan: Plan) -> None:
    """Store the plan for the worker."""
    path.write_bytes(_encoder.encode(plan))


def read_plan(path: Path) -> Plan:
    """Read the plan in the worker."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Plan)
