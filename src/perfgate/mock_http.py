"""The mocked server's other face: Triton's generate extension and OpenAI's completions over HTTP.

Both answer by the same script as its gRPC streams (`mock_server`), and misbehave like them.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from perfgate.load.openai import DONE
from perfgate.load.openai import PATH as COMPLETIONS
from perfgate.mock_script import INPUTS, TIMINGS, Misbehaviour, Script


class Mock(Protocol):
    """What the answers need of the mocked server."""

    script: Script

    def take(self, prompt: str) -> int:
        """Note a request; returns its number."""

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the server is stopped first."""

    @property
    def stopping(self) -> threading.Event:
        """Set when the server is to go."""


class HttpFront(ThreadingHTTPServer):
    """An HTTP server on a free port of 127.0.0.1 that answers for `mock`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mock: Mock, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.mock = mock
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Drop every connection at once, as a killed server does."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember each connection, to drop it in the end."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget one that is over."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    """The paths that a client asks for."""

    protocol_version = "HTTP/1.1"
    server: HttpFront
    _answers = 0  # of this connection, each of which has a handler of its own

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        script = self.server.mock.script
        models = {
            f"/v2/models/{model}": {
                "name": model,
                "inputs": [
                    {"name": name, "datatype": INPUTS[name], "shape": [-1, 1]}
                    for name in script.inputs
                ],
            }
            for model in script.models
        }
        fields: dict[str, Any] = {name: {} for name in script.completion_fields}
        known: dict[str, Any] = {
            **models,
            **{f"{path}/ready": {} for path in models},
            "/v1/models": {"object": "list", "data": [{"id": model} for model in script.models]},
            "/openapi.json": {
                "components": {"schemas": {"CompletionRequest": {"properties": fields}}}
            },
        }
        if self.path in known:
            self._say(200, known[self.path])
        else:
            self._say(404, {"error": f"Request for unknown model: '{self.path.split('/')[-1]}'"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        completion = self.path == COMPLETIONS
        answer: _Answer = (_Completion if completion else _Generation)(self.server.mock, asked)
        number = self.server.mock.take(asked["prompt" if completion else "text_input"])
        misbehaviour = self.server.mock.script.befalls(number)
        if misbehaviour is Misbehaviour.REFUSED:
            self._say(400, {"error": "unexpected inference input"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self._answers += 1
        if self._answers == self.server.mock.script.answers_per_connection:
            self.close_connection = True
            if not self.server.mock.script.closes_silently:
                self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):
            for event in answer.play(misbehaviour):
                self._chunk(b"data: " + event + b"\n\n")
            if misbehaviour in {Misbehaviour.TRUNCATED, Misbehaviour.RESET}:
                self.close_connection = True
                return
            self._chunk(b"")
            if misbehaviour is Misbehaviour.REORDERED:
                self._chunk(b"data: " + answer.token(1) + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _say(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Answer:
    """The events that answer one request."""

    def __init__(self, mock: Mock, asked: dict[str, Any]) -> None:
        self.mock = mock
        self.asked = asked
        self.sent = 0

    def play(self, misbehaviour: Misbehaviour | None) -> Iterator[bytes]:
        """Yield the events, paced by the script, spoilt by `misbehaviour`."""
        script = self.mock.script
        if misbehaviour is Misbehaviour.OUT_OF_MEMORY:
            yield b'{"error":"CUDA runtime error in cudaMallocAsync: out of memory"}'
            return
        length = self.asked["max_tokens"] - (misbehaviour is Misbehaviour.WRONG_LENGTH)
        step = script.tokens_per_message
        self.mock.wait(script.ttft_s)
        for done in range(0, length, step):
            half = done // step == length // step // 2
            if half and misbehaviour in {Misbehaviour.TRUNCATED, Misbehaviour.RESET}:
                return
            if half and misbehaviour is Misbehaviour.LATE:
                self.mock.wait(script.late_s)
            if half and misbehaviour is Misbehaviour.HUNG:
                self.mock.stopping.wait()
                return
            count = min(step, length - done)
            self.sent += count
            event = self.token(done + count if misbehaviour is Misbehaviour.CUMULATIVE else count)
            yield event
            if half and misbehaviour is Misbehaviour.DUPLICATED:
                yield event
            self.mock.wait(script.itl_s)
        yield from self.last()

    def token(self, count: int) -> bytes:
        """An event with text; what it counts is the protocol's business."""
        raise NotImplementedError

    def last(self) -> Iterator[bytes]:
        """What comes after the last token."""
        raise NotImplementedError


class _Generation(_Answer):
    """As Triton's ensemble answers."""

    def token(self, count: int) -> bytes:
        return self._event(text_output=" token" * count, num_output_tokens=count)

    def last(self) -> Iterator[bytes]:
        timings = {name: 1 + number for number, name in enumerate(TIMINGS)}
        tokens = self.mock.script.input_tokens
        yield self._event(text_output="", num_input_tokens=tokens, **timings)

    def _event(self, **tensors: Any) -> bytes:
        told = {"id": self.asked["id"], "model_name": "ensemble", "model_version": "1", **tensors}
        return json.dumps(told, separators=(",", ":")).encode()


class _Completion(_Answer):
    """As OpenAI's completions are answered."""

    def token(self, count: int) -> bytes:
        choice = {"index": 0, "text": " token" * count, "finish_reason": None}
        wanted = self.asked.get("stream_options", {}).get("continuous_usage_stats")
        return self._event([choice], self._usage() if wanted else None)

    def last(self) -> Iterator[bytes]:
        if self.mock.script.usage:
            yield self._event([], self._usage())
        yield DONE

    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.mock.script.input_tokens, "completion_tokens": self.sent}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        told = {"id": "cmpl-1", "object": "text_completion", "choices": choices, "usage": usage}
        return json.dumps(told).encode()
