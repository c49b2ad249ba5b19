"""What receivers know of the protocols: how a connection is used, and how an answer ends.

Only what the hot path needs; the parser checks it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from perfgate.errors import LoadError
from perfgate.load.spool import Ending

Deliver = Callable[[int, bytes], None]
EndCall = Callable[[str], None]

STREAM_METHOD: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
CONNECT_S: Final = 10.0
RECONNECT_S: Final = 2.0

# A parameters entry (field 4, 27 bytes) {"triton_final_response": bool_param true}, and the tag
# of error_message (field 1), which protobuf writes first if it is there. The parser checks both.
FINAL_MARK: Final = b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"
ERROR_TAG: Final = b"\x0a"

# An answer over HTTP has no last message: its end is told as an empty one, which no event can be.
END: Final = b""
# Why a call ended whose request the server cannot have taken: it had closed the connection before.
NOT_TAKEN: Final = ""
_ERROR_EVENT: Final = (b'{"error"', b'{"object":"error"')


class ProtocolError(Exception):
    """The peer broke its protocol; the connection cannot be used any more."""


class Connection(Protocol):
    """One connection to a server without its socket: `http2` or `http1`.

    `receive` takes what was read with the time at which it came; `out` holds what is to be written.
    `ready` says that calls can be sent, `leaving` why no more can be opened.
    """

    out: bytearray
    ready: bool
    leaving: str

    @property
    def calls(self) -> int:
        """How many calls have not ended."""

    @property
    def room(self) -> bool:
        """Whether another call can be opened here."""

    def open(self, deliver: Deliver, end: EndCall) -> int:
        """Open a call that takes one request after the other; returns its number.

        `deliver(stamp_ns, message)` is told each message, `end(reason)` that a request was not
        answered to its end, unless it was given up by `cancel`; for NOT_TAKEN it can be sent again.
        """

    def send(self, number: int, request: bytes) -> None:
        """Send one request."""

    def half_close(self, number: int) -> None:
        """Say that nothing more will be sent."""

    def cancel(self, number: int) -> None:
        """Drop the call; nothing more is told of it."""

    def lost(self, reason: str) -> None:
        """Tell every open call that the connection is gone."""

    def receive(self, data: bytes, stamp_ns: int) -> None:
        """Take what was read; ProtocolError if no server of this protocol says so."""


def ending_of(message: bytes) -> Ending | None:
    """How this message ends its request, or None if more are to come."""
    if FINAL_MARK in message:
        return Ending.FINAL
    return Ending.REFUSED if message.startswith(ERROR_TAG) else None


def http_ending_of(message: bytes) -> Ending | None:
    """How this message ends its request over HTTP, or None if more are to come."""
    if not message:
        return Ending.FINAL
    return Ending.REFUSED if message.startswith(_ERROR_EVENT) else None


def unreachable(address: str, timeout_s: float) -> LoadError:
    """The error of a server that does not take a connection."""
    return LoadError(
        f"no connection to {address} within {timeout_s:g} s: the server is gone or never"
        " listened there. Read its log, then start it again."
    )
