"""Coverage-guided fuzzing of the readers of the fast receiver: any bytes, cut anywhere.

    python tests/fuzz/fuzz_readers.py http1 -max_total_time=60 tests/fuzz/corpus/http1
    python tests/fuzz/fuzz_readers.py http2 -max_total_time=60 tests/fuzz/corpus/http2

The options are libFuzzer's; what is found new goes into the first folder. An input's first byte
says how it is cut, the rest is what a server says. Whatever that is, the reader understands or
refuses it, hears the same in one read as in many, and never tells an end that was not told. The
same bytes as the body of an answer are heard alike in one chunk or frame and in many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import atheris

with atheris.instrument_imports(include=["perfgate.load", "hpack"]):
    from perfgate.load import http1, http2
    from perfgate.load.wire import END, Connection, ProtocolError

# What was heard: messages, the reasons for ends, and whether the bytes were refused.
Heard = tuple[list[bytes], list[str], bool]

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
OPENING = b"\0\0\0\x04\0\0\0\0\0"  # the server's settings, none of them set


def connections(kind: str) -> Callable[[], Connection]:
    """Makes a connection of that protocol."""
    if kind == "http1":
        return http1.Connection
    return lambda: http2.Connection("fuzz:1", "/m", streams=2)


def hear(connect: Callable[[], Connection], parts: Iterator[bytes]) -> Heard:
    """Let a connection with an open request hear these reads."""
    connection = connect()
    messages: list[bytes] = []
    ends: list[str] = []
    number = connection.open(lambda _, message: messages.append(message), ends.append)
    connection.send(number, b"request")
    try:
        for part in parts:
            connection.receive(part, 0)
    except ProtocolError:
        return messages, ends, True
    return messages, ends, False


def pieces(data: bytes, step: int) -> Iterator[bytes]:
    """The bytes in reads of `step`."""
    return (data[start : start + step] for start in range(0, len(data), step))


def whole_body(kind: str, body: bytes) -> bytes:
    """An answer with this body in one piece."""
    if kind == "http1":
        return EVENTS + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return OPENING + frame(body)


def cut_body(kind: str, body: bytes, step: int) -> bytes:
    """The same answer with its body in pieces of `step`."""
    if kind == "http1":
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces(body, step))
        return EVENTS + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return OPENING + b"".join(frame(part) for part in pieces(body, step))


def frame(payload: bytes) -> bytes:
    """A DATA frame of the first stream."""
    return len(payload).to_bytes(3, "big") + b"\0\0\0\0\0\x01" + payload


def check(kind: str, data: bytes) -> None:
    """One input; an AssertionError or any other exception is a finding."""
    connect, told, step = connections(kind), data[1:], 1 + data[0] % 32 if data else 1
    whole = hear(connect, iter([told]))
    cut = hear(connect, pieces(told, step))
    if whole != cut:
        raise AssertionError(f"one read: {whole}, many: {cut}")
    one = hear(connect, iter([whole_body(kind, told)]))
    many = hear(connect, iter([cut_body(kind, told, step)]))
    if one != many:
        raise AssertionError(f"one piece: {one}, many: {many}")
    if kind == "http1" and whole[0].count(END) > told.count(b"\r\n\r\n"):
        raise AssertionError(f"an end that nobody told: {whole}")


def main() -> None:
    """Fuzz until libFuzzer's own options say that it is enough."""
    kind = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: check(kind, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
