"""A mocked Triton: the KServe v2 protocol in-process, with scripted pacing and scripted faults.

It answers for the ensemble's tensors on a free port of 127.0.0.1, so that a client can be tested
without Triton, and against what Triton rarely does: late, truncated, doubled, reordered answers,
a hang, a reset, an engine out of memory. Over HTTP it answers alike (`mock_http`).

    with MockServer(Script(itl_s=0.001)) as mock:
        ...  # mock.server is a Server like any other
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any, Self

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perfgate.mock_http import HttpFront
from perfgate.mock_script import INPUTS, TIMINGS, Misbehaviour, Script
from perfgate.model import Server

__all__ = ["Misbehaviour", "MockServer", "Script"]

_OUTPUTS = {"text_output": "BYTES", "num_input_tokens": "INT32", "num_output_tokens": "INT32"}
_MAX_STREAMS = 64


class MockServer:
    """A running mocked server; a context manager that stops it and every stream in it.

    It listens on `port`, by default a free one.
    """

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self.script = script or Script()
        self.prompts: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._http = HttpFront(self)
        self._grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=_MAX_STREAMS + 4))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._grpc)
        self._port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def server(self) -> Server:
        """The mocked server's address, as the rest of perfgate knows servers."""
        return Server(
            grpc_url=f"127.0.0.1:{self._port}",
            http_url=self._http.url,
            metrics_url="",
            simulated=True,
        )

    def take(self, prompt: str) -> int:
        """Note a request; returns its number."""
        with self._lock:
            self.prompts.append(prompt)
            return len(self.prompts) - 1

    def stop(self) -> None:
        """Drop every connection at once, as a killed server does."""
        self.stopping.set()
        self._http.stop()
        self._grpc.stop(grace=0).wait()

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the server is stopped first."""
        self.stopping.wait(seconds)

    def hang(self, context: Any) -> None:
        """Stay silent until the client has gone or the server is stopped."""
        while context.is_active() and not self.stopping.is_set():
            self.wait(0.01)

    def __enter__(self) -> Self:
        """Start to answer."""
        self._grpc.start()
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # untyped base
    """The calls a client of Triton makes, by their protocol names."""

    def __init__(self, mock: MockServer) -> None:
        self._mock = mock

    def ServerLive(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        return service_pb2.ModelReadyResponse(ready=request.name in self._mock.script.models)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        if request.name not in self._mock.script.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}'")
        response = service_pb2.ModelMetadataResponse(name=request.name, platform="ensemble")
        for name in self._mock.script.inputs:
            response.inputs.add(name=name, datatype=INPUTS[name], shape=[-1, 1])
        for name, datatype in _OUTPUTS.items():
            response.outputs.add(name=name, datatype=datatype, shape=[-1, 1])
        return response

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802 - the protocol's name
        for request in requests:
            unknown = {tensor.name for tensor in request.inputs} - set(self._mock.script.inputs)
            if unknown:
                yield _refuse(f"unexpected inference input '{min(unknown)}' for model 'ensemble'")
                continue
            inputs = _read_inputs(request)
            number = self._mock.take(inputs["text_input"])
            answer = _Answer(self._mock, request, inputs, context)
            yield from answer.play(misbehaviour := self._mock.script.befalls(number))
            if misbehaviour is Misbehaviour.TRUNCATED:
                return


class _Answer:
    """The messages that answer one request."""

    def __init__(
        self, mock: MockServer, request: Any, inputs: dict[str, Any], context: Any
    ) -> None:
        self._mock = mock
        self._request = request
        self._length: int = inputs["max_tokens"]
        self._context = context
        self._arrival_ns = time.perf_counter_ns()

    def play(self, misbehaviour: Misbehaviour | None) -> Iterator[Any]:
        """Yield the messages, paced by the script, spoilt by `misbehaviour`."""
        script = self._mock.script
        if misbehaviour is Misbehaviour.OUT_OF_MEMORY:
            yield _refuse("CUDA runtime error in cudaMallocAsync: out of memory")
            return
        messages = self._messages(misbehaviour)
        self._mock.wait(script.ttft_s)
        for position, message in enumerate(messages):
            if position == len(messages) // 2:
                yield from self._spoil(misbehaviour, message)
            if not self._context.is_active():
                return
            yield message
            self._mock.wait(script.itl_s)

    def _messages(self, misbehaviour: Misbehaviour | None) -> list[Any]:
        length = self._length - (misbehaviour is Misbehaviour.WRONG_LENGTH)
        step = self._mock.script.tokens_per_message
        counts = [min(step, length - done) for done in range(0, length, step)]
        if misbehaviour is Misbehaviour.CUMULATIVE:
            counts = [sum(counts[: position + 1]) for position in range(len(counts))]
        messages = [*(self._tokens(count) for count in counts), self._final()]
        if misbehaviour is Misbehaviour.REORDERED:
            messages[-2:] = reversed(messages[-2:])
        if misbehaviour is Misbehaviour.TRUNCATED:
            del messages[len(messages) // 2 :]
        return messages

    def _spoil(self, misbehaviour: Misbehaviour | None, message: Any) -> Iterator[Any]:
        match misbehaviour:
            case Misbehaviour.LATE:
                self._mock.wait(self._mock.script.late_s)
            case Misbehaviour.DUPLICATED:
                yield message
            case Misbehaviour.HUNG:
                self._mock.hang(self._context)
            case Misbehaviour.RESET:
                self._context.abort(grpc.StatusCode.UNAVAILABLE, "the server shut down")

    def _tokens(self, count: int) -> Any:
        response = self._response(final=False)
        _add(response, "text_output", "BYTES", _bytes_tensor(" token" * count))
        _add(response, "num_output_tokens", "INT32", struct.pack("<i", count))
        return _wrap(response)

    def _final(self) -> Any:
        """The empty final response, with the engine's stamps as TensorRT-LLM gives them."""
        response = self._response(final=True)
        _add(
            response, "num_input_tokens", "INT32", struct.pack("<i", self._mock.script.input_tokens)
        )
        for number, name in enumerate(TIMINGS):
            _add(response, name, "INT64", struct.pack("<q", self._arrival_ns + number))
        return _wrap(response)

    def _response(self, *, final: bool) -> Any:
        response = service_pb2.ModelInferResponse(model_name="ensemble", id=self._request.id)
        response.parameters["triton_final_response"].bool_param = final
        return response


def _add(response: Any, name: str, datatype: str, raw: bytes) -> None:
    response.outputs.add(name=name, datatype=datatype, shape=[1, 1])
    response.raw_output_contents.append(raw)


def _wrap(response: Any) -> Any:
    return service_pb2.ModelStreamInferResponse(infer_response=response)


def _refuse(message: str) -> Any:
    return service_pb2.ModelStreamInferResponse(error_message=message)


def _bytes_tensor(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded


def _read_inputs(request: Any) -> dict[str, Any]:
    return {
        tensor.name: _read_tensor(tensor.datatype, raw)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def _read_tensor(datatype: str, raw: bytes) -> str | int | bool:
    match datatype:
        case "BYTES":
            return raw[4:].decode()
        case "BOOL":
            return bool(raw[0])
        case _:
            return int.from_bytes(raw, "little", signed=True)
