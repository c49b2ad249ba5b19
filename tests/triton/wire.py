"""A small client that shows every response as it came: errors, tensors, final flags."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

_TYPES = {
    "text_input": ("BYTES", object),
    "seed": ("UINT64", np.uint64),
    "stop_words": ("BYTES", object),
    **dict.fromkeys(
        (
            "max_tokens",
            "min_tokens",
            "end_id",
            "beam_width",
            "input_ids",
            "input_lengths",
            "request_output_len",
        ),
        ("INT32", np.int32),
    ),
}
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Response:
    """One message of the stream: an error, or the tensors by name, each as its single value."""

    tensors: dict[str, Any]
    final: bool
    error: str = ""


class Client:
    """Asks one model, the ensemble unless told otherwise, over one stream."""

    def __init__(self, url, model="ensemble", rank=2):
        self._rank = rank
        self._client = InferenceServerClient(url)
        self._model = model
        self._responses: queue.Queue[Response] = queue.Queue()

    def __enter__(self) -> Self:
        """Open the stream."""
        self._client.start_stream(lambda result, error: self._responses.put(_read(result, error)))
        return self

    def __exit__(self, *_):
        """Close it, whatever is still in flight."""
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def send(self, **given):
        """Send one request; the answers come through `receive`."""
        self._client.async_stream_infer(
            self._model,
            [_input(name, value, self._rank) for name, value in given.items()],
            request_id="1",
            enable_empty_final_response=True,
        )

    def receive(self):
        """Wait for the next response."""
        return self._responses.get(timeout=_PATIENCE_S)

    def ask(self, **given):
        """Send one request and return its responses up to the final one or the error."""
        self.send(**given)
        responses = [self.receive()]
        while not (responses[-1].final or responses[-1].error):
            responses.append(self.receive())
        return responses


def _input(name, value, rank):
    kind, dtype = _TYPES.get(name, ("BOOL", bool))
    values = np.array(value, dtype=dtype).reshape((1,) * (rank - 1) + (-1,))
    tensor = InferInput(name, values.shape, kind)
    tensor.set_data_from_numpy(values)
    return tensor


def _read(result, error):
    if error is not None:
        return Response({}, final=False, error=str(error))
    message = result.get_response()
    tensors = {output.name: result.as_numpy(output.name).ravel()[0] for output in message.outputs}
    return Response(tensors, final=message.parameters["triton_final_response"].bool_param)
