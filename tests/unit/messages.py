"""Triton's streamed responses as bytes."""

from __future__ import annotations

import struct

from tritonclient.grpc import service_pb2

TIMINGS = (
    "arrival_time_ns",
    "first_scheduled_time_ns",
    "first_token_time_ns",
    "last_token_time_ns",
)


def token_message(index, *, tokens, text=b" token", final=False):
    """A response to request `index` with a text and the number of its tokens."""
    response = _response(index, final=final)
    _add(response, "text_output", "BYTES", struct.pack("<I", len(text)) + text)
    _add(response, "num_output_tokens", "INT32", struct.pack("<i", tokens))
    return _envelope(response)


def final_message(index):
    """The empty final response, with prompt length and the engine's stamps."""
    response = _response(index, final=True)
    _add(response, "num_input_tokens", "INT32", struct.pack("<i", 8))
    for number, name in enumerate(TIMINGS):
        _add(response, name, "INT64", struct.pack("<q", 1000 + number))
    return _envelope(response)


def hollow_message(index):
    """A response that names an output and does not bring it."""
    response = _response(index, final=False)
    response.outputs.add(name="num_output_tokens", datatype="INT32", shape=[1, 1])
    return _envelope(response)


def refusal(text):
    """An error instead of a response."""
    return service_pb2.ModelStreamInferResponse(error_message=text).SerializeToString()


def _response(index, *, final):
    response = service_pb2.ModelInferResponse(model_name="ensemble", id=str(index))
    response.parameters["triton_final_response"].bool_param = final
    return response


def _add(response, name, datatype, raw):
    response.outputs.add(name=name, datatype=datatype, shape=[1, 1])
    response.raw_output_contents.append(raw)


def _envelope(response):
    return service_pb2.ModelStreamInferResponse(infer_response=response).SerializeToString()
