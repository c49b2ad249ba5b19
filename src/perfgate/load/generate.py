"""Triton's generate extension: one JSON object a request, one event a response, over HTTP/1.1.

Tensors are members of the objects, by name. No event is the last one: the end of
the answer says so.
Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from __future__ import annotations

import json
from typing import Any

from perfgate.errors import LoadError
from perfgate.load.http1 import post
from perfgate.load.parser import MessageError
from perfgate.load.plain_http import NoAnswerError, get
from perfgate.load.repeats import Response
from perfgate.load.tensors import InputTensor, ModelInputs, choose_inputs, request_values
from perfgate.load.wire import END


def fetch_inputs(url: str, model: str) -> ModelInputs:
    """Ask the server which of our inputs `model` takes.

    Raises LoadError if it does not answer or lacks one that the measurement rests on.
    """
    try:
        status, body = get(url, f"/v2/models/{model}")
    except NoAnswerError as error:
        msg = f"model {model!r} at {url} did not describe itself: {error}. Is the server ready?"
        raise LoadError(msg) from error
    try:
        told = json.loads(body)
        offered = {
            item["name"]: InputTensor(item["name"], item["datatype"], len(item["shape"]))
            for item in told["inputs"]
        }
    except (ValueError, KeyError, TypeError) as error:
        text = body[:200].decode(errors="replace")
        msg = f"model {model!r} at {url} did not describe itself: HTTP {status}: {text}"
        raise LoadError(msg) from error
    return choose_inputs(model, offered)


def serialise(
    inputs: ModelInputs,
    authority: str,
    *,
    index: int,
    prompt: str,
    output_tokens: int,
    count_input: bool,
) -> bytes:
    """Return the bytes of a request for exactly `output_tokens` tokens; see `request_values`."""
    values = request_values(prompt, output_tokens, count_input=count_input)
    body = {
        "id": str(index),
        **{tensor.name: values[tensor.name] for tensor in inputs.tensors},
    }
    return post(authority, f"/v2/models/{inputs.model}/generate_stream", body)


def decode(message: bytes, index: int) -> Response:
    """Decode one event of request `index`, or its end.

    Raises MessageError if it is garbled, an error, or meant for another request.
    """
    if message == END:
        return Response({}, final=True)
    response = read_object(message)
    if "error" in response:
        raise MessageError(str(response["error"]))
    if response.get("id") != str(index):
        msg = f"request {index} got a response for request {response.get('id')!r}"
        raise MessageError(msg)
    integers = {name: value for name, value in response.items() if type(value) is int}
    return Response(integers, final=False)


def read_object(message: bytes) -> dict[str, Any]:
    """The JSON object of an event; MessageError if it is none."""
    try:
        value = json.loads(message)
    except ValueError as error:
        msg = f"an event of {len(message)} bytes is no JSON: {error}"
        raise MessageError(msg) from error
    if not isinstance(value, dict):
        msg = f"an event is no JSON object: {message[:60]!r}"
        raise MessageError(msg)
    return value
