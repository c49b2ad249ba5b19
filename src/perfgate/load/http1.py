"""The client's side of one HTTP/1.1 connection whose answers are streams of events.

No socket and no clock: `receive` takes what was read with the time at which it came, `out` holds
what is to be written. Responses are RFC 9112, events are those of the HTML standard's
"Server-sent events". It does what a load client needs and no more: one request at a time, no
compression, no trailers that mean anything, no event names.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import Any, Final

from perfgate.load.wire import END, NOT_TAKEN, Deliver, EndCall, ProtocolError

_DATA: Final = b"data: "
_MAX_HEAD: Final = 65_536
_MAX_SIZE_LINE: Final = 64  # far longer than any size
_MAX_EVENT: Final = 2**20
_MAX_ERROR: Final = 65_536
_OK: Final = 200
_EVENTS: Final = "text/event-stream"


class _Awaits(Enum):
    """What the next bytes must be."""

    NOTHING = auto()  # no request is in flight
    HEAD = auto()
    CHUNK = auto()  # a chunk's size, then the chunk
    REST_OF_BODY = auto()  # of a length that the head told
    TRAILER = auto()


class Connection:
    """An HTTP/1.1 connection of requests that are answered by events, one after the other.

    `out` collects bytes for the peer; whoever owns the socket writes them and empties it. A request
    is the whole of its bytes, head and body. Each event's data is a message; an answer's end is
    one more, `wire.END`. With an answer that says that it is the connection's last the call is
    over (`calls` is 0).
    """

    ready = True

    def __init__(self) -> None:
        self.leaving = ""  # why the peer takes no more requests, if it said so
        self.out = bytearray()
        self.calls = 0
        self._answered = False
        self._deliver: Deliver = _ignore
        self._end: EndCall = _ignore
        self._awaits = _Awaits.NOTHING
        self._rest = b""
        self._left = 0  # bytes of the body that are still to come
        self._refusal: int | None = None  # the status of an answer that is no stream of events
        self._text = bytearray()  # what is not yet a whole event, or a refusal's body
        self._event: list[bytes] = []  # data lines of the event that has begun

    # --- What the client does ---------------------------------------------------------------

    @property
    def room(self) -> bool:
        """Whether a client can open here: there is one at a time."""
        return not self.calls and not self.leaving

    def open(self, deliver: Deliver, end: EndCall) -> int:
        """Let a client use the connection; its calls are told as those of `http2`."""
        self._deliver, self._end = deliver, end
        self.calls = 1
        return 0

    def send(self, _number: int, request: bytes) -> None:
        """Send one request; the one before has been answered."""
        self._awaits = _Awaits.HEAD
        self.out += request

    def half_close(self, _number: int) -> None:
        """Nothing more will be sent; between two requests there is nothing to be said of it."""
        self.calls = 0

    def cancel(self, _number: int) -> None:
        """Drop the call. HTTP/1.1 has no word for it: the connection must be closed."""
        self._deliver, self._end, self.calls = _ignore, _ignore, 0
        self.leaving = "a request was given up"

    def lost(self, reason: str) -> None:
        """Tell an open call that the connection is gone; END cannot come any more.

        A server may close between two answers, and the next request cross its word on the way.
        """
        if self._answered and self._awaits is _Awaits.HEAD and not self._rest:
            self._close(NOT_TAKEN)
            return
        begun = self._awaits not in {_Awaits.NOTHING, _Awaits.HEAD}
        self._close(f"{reason}, in the midst of its answer" if begun else reason)

    def _close(self, reason: str) -> None:
        """End the call for any other cause than an answer."""
        end = self._end
        self._deliver, self._end, self.calls = _ignore, _ignore, 0
        end(reason)

    # --- What the peer says -----------------------------------------------------------------

    def receive(self, data: bytes, stamp_ns: int) -> None:
        """Take bytes that were read, in whatever pieces they come: the hot path.

        Raises ProtocolError if they cannot be what an HTTP/1.1 server says.
        """
        if self._awaits is _Awaits.CHUNK and not self._rest and not self._text:
            # What nearly every read is: one chunk that is one event of one line.
            size, _, chunk = data.partition(b"\r\n")
            if (
                chunk.startswith(_DATA)
                and chunk.endswith(b"\n\n\r\n")
                and chunk.count(b"\n") == 3  # noqa: PLR2004 - those at its end
                and b"\r" not in chunk[:-2]
                and not self._event
                and self._refusal is None
                and _size_of(size) == len(chunk) - 2
                and len(chunk) > len(_DATA) + 4
            ):
                self._deliver(stamp_ns, chunk[6:-4])
                return
        self._rest += data
        while self._step(stamp_ns):
            pass

    def _step(self, stamp_ns: int) -> bool:
        """Take one part of what was read; whether there may be another."""
        match self._awaits:
            case _Awaits.NOTHING:
                if self._rest and not self.leaving:
                    raise ProtocolError(f"bytes that nobody asked for: {self._rest[:60]!r}")
                self._rest = b""
                return False
            case _Awaits.HEAD:
                return self._take_head()
            case _Awaits.CHUNK:
                return self._take_chunk(stamp_ns)
            case _Awaits.REST_OF_BODY:
                return self._take_rest(stamp_ns)
            case _Awaits.TRAILER:
                return self._take_trailer(stamp_ns)

    def _take_head(self) -> bool:
        head, found, rest = self._rest.partition(b"\r\n\r\n")
        if _too_long(head, _MAX_HEAD) or not _may_begin(head):
            raise ProtocolError(f"no HTTP/1.1 answer begins with {head[:60]!r}")
        if not found:
            return False
        status, fields = _parse_head(head)
        self._rest = rest
        if 100 <= status < 200:  # noqa: PLR2004 - an interim answer: the real one follows
            return True
        events = fields.get("content-type", "").partition(";")[0].strip().lower() == _EVENTS
        self._refusal = None if status == _OK and events else status
        if "close" in fields.get("connection", "").lower():
            self.leaving = "the server closes it after this answer"
        if fields.get("transfer-encoding", "").lower() == "chunked":
            self._awaits = _Awaits.CHUNK
        elif (length := fields.get("content-length", "")).isascii() and length.isdigit():
            self._left, self._awaits = int(length), _Awaits.REST_OF_BODY
        else:
            raise ProtocolError("an answer without chunks or length: nobody can tell its end")
        return True

    def _take_chunk(self, stamp_ns: int) -> bool:
        line, found, rest = self._rest.partition(b"\r\n")
        if _too_long(line, _MAX_SIZE_LINE):
            raise ProtocolError(f"no chunk begins with {line[:60]!r}")
        if not found:
            return False
        size = _size_of(line.partition(b";")[0].strip())
        if size > _MAX_EVENT:
            raise ProtocolError(f"a chunk of {size} bytes, {_MAX_EVENT} are allowed")
        if not size:
            self._rest, self._awaits = rest, _Awaits.TRAILER
            return True
        if len(rest) < size + 2:
            return False
        if rest[size : size + 2] != b"\r\n":
            raise ProtocolError(f"a chunk is longer than its size of {size} bytes")
        self._rest = rest[size + 2 :]
        self._take_body(rest[:size], stamp_ns)
        return True

    def _take_rest(self, stamp_ns: int) -> bool:
        part, self._rest = self._rest[: self._left], self._rest[self._left :]
        self._left -= len(part)
        self._take_body(part, stamp_ns)
        if self._left:
            return False
        self._finish(stamp_ns)
        return bool(self._rest)

    def _take_trailer(self, stamp_ns: int) -> bool:
        line, found, rest = self._rest.partition(b"\r\n")
        if _too_long(line, _MAX_HEAD):
            raise ProtocolError("a trailer without end")
        if not found:
            return False
        self._rest = rest
        if not line:
            self._finish(stamp_ns)
        return True

    def _take_body(self, part: bytes, stamp_ns: int) -> None:
        if self._refusal is not None:
            self._text += part[: _MAX_ERROR - len(self._text)]
            return
        if len(self._text) > _MAX_EVENT:
            raise ProtocolError(f"a line of more than {_MAX_EVENT} bytes")
        if b"\n" not in part and b"\r" not in part and not self._text.endswith(b"\r"):
            self._text += part
            return
        text = bytes(self._text) + part
        # A line ends in CR, LF or both, and of both the LF may be still to come.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._text[:] = lines.pop() + held
        for line in lines:
            self._take_line(line, stamp_ns)

    def _take_line(self, line: bytes, stamp_ns: int) -> None:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._event.append(value.removeprefix(b" "))
            return  # a comment, or a field that only browsers use
        message, self._event = b"\n".join(self._event), []
        if message:  # without data there is no event
            self._deliver(stamp_ns, message)

    def _finish(self, stamp_ns: int) -> None:
        """The whole answer is here: say so, or say why it is none."""
        if self._text.endswith(b"\r"):
            self._take_body(b"\n", stamp_ns)
        text, self._text = bytes(self._text), bytearray()
        event, self._event = self._event, []
        refusal, self._refusal = self._refusal, None
        self._awaits, self._answered = _Awaits.NOTHING, True
        if refusal is not None:
            self._close(_refused(refusal, text))
        elif event or text:
            self._close("the answer ended in the midst of an event")
        else:
            deliver = self._deliver
            if self.leaving:
                self._deliver, self._end, self.calls = _ignore, _ignore, 0
            deliver(stamp_ns, END)


def post(authority: str, path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a request whose answer is a stream of events."""
    encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\n"
        f"Host: {authority}\r\n"
        "User-Agent: perfgate\r\n"
        f"Accept: {_EVENTS}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


def _ignore(*_: object) -> None:
    """What is told to nobody."""


def _too_long(text: bytes, most: int) -> bool:
    """Whether a text is over its limit, whether or not the line break after it has come whole."""
    return len(text) > most and len(text.rstrip(b"\r\n")) > most


def _may_begin(head: bytes) -> bool:
    start = b"HTTP/1.1 "
    return head[: len(start)] == start[: len(head)]


def _size_of(digits: bytes) -> int:
    # int() would also take signs, spaces and underscores.
    if not 0 < len(digits) <= _MAX_SIZE_LINE or digits.strip(b"0123456789abcdefABCDEF"):
        raise ProtocolError(f"{digits[:60]!r} is no chunk size")
    return int(digits, 16)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields, names in small letters."""
    first, *lines = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    digits = rest[:3]
    if version != b"HTTP/1.1" or len(digits) != 3 or not digits.isdigit():  # noqa: PLR2004
        raise ProtocolError(f"{first[:60]!r} is no HTTP/1.1 status line")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name.strip():
            raise ProtocolError(f"{line[:60]!r} is no header field")
        fields[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return int(digits), fields


def _refused(status: int, body: bytes) -> str:
    """Why a request was not answered by events, in the server's own words."""
    text = body.decode(errors="replace").strip().removeprefix("data:").strip()
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        error = told.get("error", told.get("message", told))
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    return f"HTTP {status}: {text[:400]}"
