"""The client's side of one HTTP/2 connection that carries gRPC streams: bytes in, bytes out.

No socket and no clock: `receive` takes what was read with the time at which it came, `out` holds
what is to be written. Frames are RFC 9113, header blocks are hpack's, messages are gRPC's
length-prefixed ones. It does what a load client needs and no more: no push, no priorities, no
compression.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final
from urllib.parse import unquote

import hpack

from perfgate.load.wire import Deliver, EndCall, ProtocolError

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = 9
_MAX_FRAME: Final = 16_384  # what both sides may send unless they agree on more; we do not
_OPEN_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65_535
_REFILL: Final = 2**30

_END_STREAM: Final = 0x1
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_PADDED: Final = 0x8
_PRIORITY: Final = 0x20

_ENABLE_PUSH: Final = 0x2
_MAX_CONCURRENT_STREAMS: Final = 0x3
_INITIAL_WINDOW_SIZE: Final = 0x4
_CANCEL: Final = 0x8

# grpc-status by number, as every gRPC library spells them.
STATUS: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
HALF_CLOSED: Final = "the server closed the stream before its final response"


class Kind(IntEnum):
    """Frame types."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class _Stream:
    """One gRPC call: where its messages go, and what is left of flow control."""

    __slots__ = ("deliver", "end", "pending", "received", "rest", "window")

    def __init__(self, deliver: Deliver, end: EndCall, window: int) -> None:
        self.deliver = deliver
        self.end = end
        self.window = window
        self.pending = b""  # waits for the peer to open its window
        self.rest = b""  # the beginning of a message
        self.received = 0


class Connection:
    """An HTTP/2 connection of gRPC calls of the method at `path`, `streams` of them at most.

    `out` collects bytes for the peer; whoever owns the socket writes them and empties it. `ready`
    is true once the peer has sent its settings.
    """

    def __init__(self, authority: str, path: str, *, streams: int = 1) -> None:
        self.ready = False
        self.leaving = ""  # why the peer takes no more streams, if it said so
        self.max_streams = _OPEN_WINDOW
        self.out = bytearray(_PREFACE)
        self._authority = authority
        self._path = path
        self._most = streams
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1
        self._rest = b""
        self._received = 0
        self._window = _FIRST_WINDOW
        self._stream_window = _FIRST_WINDOW
        self._block: tuple[int, int, bytes] | None = None  # a header block that goes on
        settings = _setting(_ENABLE_PUSH, 0) + _setting(_INITIAL_WINDOW_SIZE, _OPEN_WINDOW)
        self._frame(Kind.SETTINGS, 0, 0, settings)
        self._grant(0, _OPEN_WINDOW - _FIRST_WINDOW)

    # --- What the client does ---------------------------------------------------------------

    @property
    def room(self) -> bool:
        """Whether another call can be opened here."""
        return not self.leaving and len(self._streams) < min(self._most, self.max_streams)

    def open(self, deliver: Deliver, end: EndCall) -> int:
        """Start a call; returns its number.

        `deliver(stamp_ns, message)` is called for each message, `end(reason)` once if the call
        ends for any other cause than `cancel`.
        """
        number = self._next_id
        self._next_id += 2
        self._streams[number] = _Stream(deliver, end, self._stream_window)
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", self._path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "perfgate"),
        )
        self._frame(Kind.HEADERS, _END_HEADERS, number, self._encoder.encode(headers))
        return number

    def send(self, number: int, message: bytes) -> None:
        """Send one message, or as much of it as the peer's windows allow for now."""
        stream = self._streams[number]
        stream.pending += b"\x00" + len(message).to_bytes(4, "big") + message
        self._flush(number, stream)

    def half_close(self, number: int) -> None:
        """Say that nothing more will be sent on this call; the peer then ends it."""
        if number in self._streams:
            self._frame(Kind.DATA, _END_STREAM, number, b"")

    @property
    def calls(self) -> int:
        """How many calls have not ended."""
        return len(self._streams)

    def cancel(self, number: int) -> None:
        """Drop a call, if it has not ended by itself; nothing more is told of it."""
        if self._streams.pop(number, None) is not None:
            self._frame(Kind.RST_STREAM, 0, number, _CANCEL.to_bytes(4, "big"))

    def lost(self, reason: str) -> None:
        """Tell every open call that the connection is gone."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(reason)

    # --- What the peer says -----------------------------------------------------------------

    def receive(self, data: bytes, stamp_ns: int) -> None:
        """Take bytes that were read, in whatever pieces they come: the hot path.

        Raises ProtocolError if they cannot be what an HTTP/2 server says.
        """
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= _HEAD:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            if length > _MAX_FRAME:
                msg = f"a frame of {length} bytes, {_MAX_FRAME} are allowed: is this HTTP/2?"
                raise ProtocolError(msg)
            stop = position + _HEAD + length
            if stop > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            number = int.from_bytes(data[position + 5 : position + 9], "big") & _OPEN_WINDOW
            payload = data[position + _HEAD : stop]
            if kind == Kind.DATA and self._block is None:
                self._take_data(number, flags, payload, stamp_ns)
            else:
                self._take_control(kind, number, flags, payload)
            position = stop
        self._rest = data[position:]

    def _take_data(self, number: int, flags: int, payload: bytes, stamp_ns: int) -> None:
        self._received += len(payload)
        if self._received >= _REFILL:
            self._grant(0, self._received)
            self._received = 0
        stream = self._streams.get(number)
        if stream is None:
            return  # cancelled: what was under way is dropped
        stream.received += len(payload)
        if flags & _PADDED:
            payload = _without_padding(payload)
        if (
            not stream.rest
            and payload[:1] == b"\x00"
            and int.from_bytes(payload[1:5], "big") + 5 == len(payload)
        ):
            stream.deliver(stamp_ns, payload[5:])
        else:
            self._take_pieces(number, stream, payload, stamp_ns)
        if flags & _END_STREAM:
            self._end(number, HALF_CLOSED)
        elif stream.received >= _REFILL:
            self._grant(number, stream.received)
            stream.received = 0

    def _take_pieces(self, number: int, stream: _Stream, payload: bytes, stamp_ns: int) -> None:
        """Take a payload that is not exactly one message: several, or parts of some."""
        data, position = stream.rest + payload, 0
        while len(data) - position >= 5:  # noqa: PLR2004 - a flag and four bytes of length
            if data[position]:
                self.cancel(number)
                stream.end("the server sent a compressed message, which was not asked for")
                return
            stop = position + 5 + int.from_bytes(data[position + 1 : position + 5], "big")
            if stop > len(data):
                break
            stream.deliver(stamp_ns, data[position + 5 : stop])
            position = stop
        stream.rest = data[position:]

    def _take_control(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        if self._block is not None and (kind != Kind.CONTINUATION or self._block[0] != number):
            raise ProtocolError("a header block was interrupted by another frame")
        match kind:
            case Kind.SETTINGS:
                self._take_settings(flags, payload)
            case Kind.PING if not flags & _ACK:
                self._frame(Kind.PING, _ACK, 0, payload)
            case Kind.WINDOW_UPDATE:
                self._take_window(number, payload)
            case Kind.HEADERS | Kind.CONTINUATION:
                self._take_headers(kind, number, flags, payload)
            case Kind.RST_STREAM:
                code = int.from_bytes(payload, "big")
                self._end(number, f"the server reset the stream (HTTP/2 error {code})")
            case Kind.GOAWAY:
                text = payload[8:].decode(errors="replace")
                code = int.from_bytes(payload[4:8], "big")
                self.leaving = f"the server is closing the connection (HTTP/2 error {code}) {text}"
            case Kind.PUSH_PROMISE:
                raise ProtocolError("the server pushed a stream, which was forbidden")
            case _:
                pass  # priorities, answers to pings nobody sent, and kinds of later standards

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & _ACK:
            return
        if len(payload) % 6:
            raise ProtocolError(f"settings of {len(payload)} bytes, not a multiple of 6")
        for start in range(0, len(payload), 6):
            name = int.from_bytes(payload[start : start + 2], "big")
            value = int.from_bytes(payload[start + 2 : start + 6], "big")
            if name == _MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif name == _INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
        self.ready = True
        self._frame(Kind.SETTINGS, _ACK, 0, b"")
        self._flush_all()

    def _take_window(self, number: int, payload: bytes) -> None:
        increment = int.from_bytes(payload, "big") & _OPEN_WINDOW
        if number == 0:
            self._window += increment
            self._flush_all()
        elif stream := self._streams.get(number):
            stream.window += increment
            self._flush(number, stream)

    def _take_headers(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        if kind == Kind.HEADERS:
            if flags & _PADDED:
                payload = _without_padding(payload)
            if flags & _PRIORITY:
                payload = payload[5:]
            self._block = (number, flags, b"")
        if self._block is None:
            raise ProtocolError("a header block goes on that never began")
        _, opening_flags, before = self._block
        self._block = (number, opening_flags, before + payload)
        if flags & _END_HEADERS:
            block, self._block = self._block[2], None
            headers = self._decode(block)
            if opening_flags & _END_STREAM:
                self._end(number, _reason(headers))

    def _decode(self, block: bytes) -> dict[str, str]:
        try:
            return {str(name): str(value) for name, value in self._decoder.decode(block)}
        except (hpack.HPACKError, UnicodeDecodeError) as error:
            raise ProtocolError(f"a header block cannot be decoded: {error}") from error

    def _end(self, number: int, reason: str) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.end(reason)

    # --- What goes out ----------------------------------------------------------------------

    def _flush_all(self) -> None:
        for number, stream in list(self._streams.items()):
            self._flush(number, stream)

    def _flush(self, number: int, stream: _Stream) -> None:
        while stream.pending:
            size = min(len(stream.pending), _MAX_FRAME, self._window, stream.window)
            if size <= 0:
                return
            self._frame(Kind.DATA, 0, number, stream.pending[:size])
            stream.pending = stream.pending[size:]
            self._window -= size
            stream.window -= size

    def _grant(self, number: int, increment: int) -> None:
        self._frame(Kind.WINDOW_UPDATE, 0, number, increment.to_bytes(4, "big"))

    def _frame(self, kind: Kind, flags: int, number: int, payload: bytes) -> None:
        self.out += len(payload).to_bytes(3, "big")
        self.out += bytes((kind, flags))
        self.out += number.to_bytes(4, "big")
        self.out += payload


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("a frame is padded by more than it holds")
    return payload[1 : len(payload) - payload[0]]


def _reason(trailers: dict[str, str]) -> str:
    """Why a call ended, from its trailers, as gRPC libraries say it."""
    number = trailers.get("grpc-status", "2")
    if number == "0":
        return HALF_CLOSED
    known = number.isdigit() and int(number) < len(STATUS)
    return (
        f"{STATUS[int(number)] if known else number}: {unquote(trailers.get('grpc-message', ''))}"
    )
