"""A server on plain sockets that stamps each token as it writes it: `python -m ... STEP_US`.

What a load client is calibrated against without Triton: between the stamp and the wire there is one
`send`, so that the error found is the client's and the kernel's alone. It says its port on standard
output and ends with its standard input, hence with its parent. It speaks Triton's generate
extension and OpenAI's completions, and what it is asked comes from our own client, one request at a
time on a connection.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final

from perfgate.errors import ServerError
from perfgate.load.openai import DONE
from perfgate.load.openai import PATH as COMPLETIONS
from perfgate.mock_script import INPUTS
from perfgate.model import Protocol, Server
from perfgate.serving.command import HOST

_MODEL: Final = "stamping"
_END_S: Final = 5.0
_READ_BYTES: Final = 65_536
_STREAM: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@contextmanager
def serve_plain(*, step_s: float, protocol: Protocol) -> Iterator[Server]:
    """Start the server, a token to each request every `step_s` seconds; ends it in the end.

    Raises ServerError if it does not start.
    """
    argv = [sys.executable, "-m", __name__, str(round(step_s * 1e6))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101 - Popen was asked for pipes
        assert process.stdout is not None  # noqa: S101
        try:
            if not (port := process.stdout.readline().decode().strip()):
                raise ServerError(
                    f"{' '.join(argv)} ended with {process.wait()} before it listened"
                )
            yield Server(
                grpc_url="",
                http_url=f"http://{HOST}:{port}",
                metrics_url="",
                model=_MODEL,
                simulated=True,
                protocol=protocol,
                pid=process.pid,
            )
        finally:
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(slots=True)
class _Running:
    """One request that is being answered.

    `before` and `after` are what an event has on both sides of a token's text, `last` what follows
    the last event.
    """

    socket: socket.socket
    before: bytes
    after: bytes
    last: bytes
    left: int
    came_ns: int
    sent: int = 0

    def send(self) -> None:
        """Write the next token; all but its stamp is made before the stamp."""
        self.left -= 1
        tail = b" %d %d%b" % (self.came_ns, self.sent, self.after)
        end = b"" if self.left else self.last
        self.sent += 1
        event = b"%b%d%b" % (self.before, perf_counter_ns(), tail)
        self.socket.sendall(_chunk(event) + end)


@dataclass(slots=True)
class _Link:
    """A client's connection and what of its requests has come."""

    socket: socket.socket
    data: bytearray = field(default_factory=bytearray)

    def requests(self) -> Iterator[tuple[str, bytes]]:
        """Yield each whole request: its path and its body."""
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            line, *fields = bytes(self.data[:end]).decode("latin-1").split("\r\n")
            told = dict(one.lower().split(": ", 1) for one in fields)
            size = end + 4 + int(told.get("content-length", "0"))
            if len(self.data) < size:
                return
            body = bytes(self.data[end + 4 : size])
            del self.data[:size]
            yield line.split(" ")[1], body


class _StampingServer:
    """One thread that accepts, reads and sends, so that nothing delays a send but itself."""

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._running: list[_Running] = []
        self._links: dict[int, _Link] = {}
        self._epoll = select.epoll()
        self._listener = socket.create_server((HOST, 0), backlog=1024)
        self._stdin = sys.stdin.fileno()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(self._stdin, select.EPOLLIN)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Answer until standard input ends."""
        due_ns = perf_counter_ns()
        while True:
            if self._running:
                wait_ns = due_ns - perf_counter_ns()
                # epoll counts in whole milliseconds; select, which can watch it, in microseconds.
                select.select((self._epoll,), (), (), max(0, wait_ns) / 1e9)
            for descriptor, _ in self._epoll.poll(0 if self._running else None):
                if descriptor == self._stdin:
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._links[descriptor])
            if self._running and (now_ns := perf_counter_ns()) >= due_ns:
                # Behind its pace it goes on from now: it never hurries to catch up.
                due_ns = max(due_ns + self._step_ns, now_ns)
                self._step()

    def _step(self) -> None:
        for one in self._running:
            try:
                one.send()
            except OSError:
                one.left = 0  # its client has gone
        self._running = [one for one in self._running if one.left]

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links[connection.fileno()] = _Link(connection)
        self._epoll.register(connection, select.EPOLLIN)

    def _read(self, link: _Link) -> None:
        try:
            data = link.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._running = [one for one in self._running if one.socket is not link.socket]
            del self._links[link.socket.fileno()]
            link.socket.close()
            return
        link.data += data
        for path, body in link.requests():
            self._answer(link.socket, path, body)

    def _answer(self, connection: socket.socket, path: str, body: bytes) -> None:
        came_ns = perf_counter_ns()
        if path == f"/v2/models/{_MODEL}":
            inputs = [{"name": n, "datatype": d, "shape": [1]} for n, d in INPUTS.items()]
            connection.sendall(_whole(200, {"name": _MODEL, "inputs": inputs}))
        elif path in {COMPLETIONS, f"/v2/models/{_MODEL}/generate_stream"}:
            asked = json.loads(body)
            before, after, last = (_completion if path == COMPLETIONS else _generation)(asked)
            tokens = int(asked["max_tokens"])
            connection.sendall(_STREAM)
            self._running.append(_Running(connection, before, after, last, tokens, came_ns))
        else:
            connection.sendall(_whole(404, {"error": f"nothing is served at {path}"}))


def _generation(asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """What stands before and after the text of an event of Triton's, and after the last one."""
    told = json.dumps(asked["id"]).encode()
    return b'data: {"text_output":"', b'","num_output_tokens":1,"id":%b}\n\n' % told, _chunk(b"")


def _completion(asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """The same of OpenAI's."""
    usage = json.dumps({"prompt_tokens": 1, "completion_tokens": asked["max_tokens"]}).encode()
    return (
        b'data: {"object":"text_completion","choices":[{"index":0,"text":"',
        b'","finish_reason":null}]}\n\n',
        _chunk(b'data: {"choices":[],"usage":%b}\n\ndata: %b\n\n' % (usage, DONE)) + _chunk(b""),
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: int, value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def main(step_us: int) -> None:
    """Say where, then serve."""
    # Ctrl-C reaches the whole process group; ending in order is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = _StampingServer(step_us * 1000)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
