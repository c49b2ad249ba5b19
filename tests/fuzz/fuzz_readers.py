"""Coverage-guided fuzzing of the readers of the fast receiver: any bytes, cut anywhere.

    python tests/fuzz/fuzz_readers.py http1 -max_total_time=60 tests/fuzz/corpus/http1
    python tests/fuzz/fuzz_readers.py http2 -max_total_time=60 tests/fuzz/corpus/http2

The options are libFuzzer's. An input's first byte says how it is cut into reads, the rest is what
a server says. Whatever that is, the reader understands or refuses it, hears the same in one read
as in many, and never tells an end that was not told.
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


def check(kind: str, data: bytes) -> None:
    """One input; an AssertionError or any other exception is a finding."""
    connect, told = connections(kind), data[1:]
    whole = hear(connect, iter([told]))
    cut = hear(connect, pieces(told, 1 + data[0] % 32 if data else 1))
    if whole != cut:
        raise AssertionError(f"one read: {whole}, many: {cut}")
    if kind == "http1" and whole[0].count(END) > told.count(b"\r\n\r\n"):
        raise AssertionError(f"an end that nobody told: {whole}")


def main() -> None:
    """Fuzz until libFuzzer's own options say that it is enough."""
    kind = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: check(kind, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
