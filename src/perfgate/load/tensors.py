"""The ensemble's tensors: which inputs a request carries, and what a response says.

Names and types are those of TensorRT-LLM's `inflight_batcher_llm` model repository. Triton
rejects a request with an input the model does not have, so the model's metadata decides.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perfgate.errors import LoadError

METADATA_S = 10.0

REQUIRED_INPUTS = ("text_input", "max_tokens", "stream", "return_num_output_tokens")
OPTIONAL_INPUTS = (
    "end_id",
    "min_tokens",
    "exclude_input_in_output",
    "return_num_input_tokens",
    "return_perf_metrics",
)

_INTEGER_BYTES = {"INT32": 4, "INT64": 8}
_DATATYPES = {
    "text_input": ("BYTES",),
    **dict.fromkeys(("max_tokens", "min_tokens", "end_id"), tuple(_INTEGER_BYTES)),
    **dict.fromkeys(
        (
            "stream",
            "exclude_input_in_output",
            "return_num_input_tokens",
            "return_num_output_tokens",
            "return_perf_metrics",
        ),
        ("BOOL",),
    ),
}


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input as the model's metadata describes it."""

    name: str
    datatype: str
    rank: int


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The inputs that requests to one model carry."""

    model: str
    tensors: tuple[InputTensor, ...]


def fetch_inputs(address: str, model: str) -> ModelInputs:
    """Ask the server which of our inputs `model` takes.

    Raises LoadError if it does not answer or lacks one that the measurement rests on.
    """
    request = service_pb2.ModelMetadataRequest(name=model)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            metadata = stub.ModelMetadata(request, timeout=METADATA_S)
        except grpc.RpcError as error:
            msg = (
                f"model {model!r} at {address} did not describe itself:"
                f" {error.code().name}: {error.details()}. Is the server ready?"
            )
            raise LoadError(msg) from error
    return choose_inputs(
        model,
        {
            item.name: InputTensor(item.name, item.datatype, len(item.shape))
            for item in metadata.inputs
        },
    )


def choose_inputs(model: str, offered: Mapping[str, InputTensor]) -> ModelInputs:
    """Pick the inputs to send from those that the model offers."""
    missing = [name for name in REQUIRED_INPUTS if name not in offered]
    if missing:
        msg = (
            f"model {model!r} has no input {', '.join(missing)}, without which fixed-length streams"
            f" cannot be asked for and counted; it has {', '.join(sorted(offered))}"
        )
        raise LoadError(msg)
    wanted = [offered[name] for name in (*REQUIRED_INPUTS, *OPTIONAL_INPUTS) if name in offered]
    for tensor in wanted:
        if tensor.datatype not in _DATATYPES[tensor.name]:
            msg = (
                f"input {tensor.name} of model {model!r} is {tensor.datatype}, not"
                f" {' or '.join(_DATATYPES[tensor.name])}: this is not TensorRT-LLM's ensemble"
            )
            raise LoadError(msg)
    return ModelInputs(model, tuple(wanted))


def request_values(
    prompt: str, output_tokens: int, *, count_input: bool
) -> dict[str, str | int | bool]:
    """What each input says to get exactly `output_tokens` tokens.

    `end_id` -1 never matches a token and `min_tokens` forbids an earlier end: either fixes the
    length. `count_input` asks how long the prompt was, which then comes with every token.
    """
    return {
        "text_input": prompt,
        "max_tokens": output_tokens,
        "min_tokens": output_tokens,
        "end_id": -1,
        "stream": True,
        "exclude_input_in_output": True,
        "return_num_input_tokens": count_input,
        "return_num_output_tokens": True,
        "return_perf_metrics": True,
    }


def serialise_request(
    inputs: ModelInputs, *, index: int, prompt: str, output_tokens: int, count_input: bool
) -> bytes:
    """Return the bytes of a ModelInferRequest for exactly `output_tokens` tokens.

    The empty final response is asked for, since the last token may not carry the flag.
    """
    values = request_values(prompt, output_tokens, count_input=count_input)
    request = service_pb2.ModelInferRequest(model_name=inputs.model, id=str(index))
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    for tensor in inputs.tensors:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=[1] * tensor.rank)
        request.raw_input_contents.append(_encode(tensor, values[tensor.name]))
    encoded: bytes = request.SerializeToString()
    return encoded


def _encode(tensor: InputTensor, value: str | int | bool) -> bytes:  # noqa: FBT001 - a tensor's value
    if isinstance(value, str):
        text = value.encode()
        return struct.pack("<I", len(text)) + text
    if isinstance(value, bool):
        return bytes([value])
    return value.to_bytes(_INTEGER_BYTES[tensor.datatype], "little", signed=True)
