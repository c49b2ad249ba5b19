"""The inputs of a request follow the model's metadata."""

from __future__ import annotations

import pytest
from tritonclient.grpc import service_pb2

from perfgate.errors import LoadError
from perfgate.load.tensors import (
    OPTIONAL_INPUTS,
    REQUIRED_INPUTS,
    InputTensor,
    choose_inputs,
    fetch_inputs,
    serialise_request,
)
from perfgate.mock_server import Script

pytestmark = pytest.mark.unit

TYPES = {"text_input": "BYTES", "max_tokens": "INT32", "min_tokens": "INT64", "end_id": "INT32"}


def metadata(*names, shape=(-1, 1)):
    """A model's inputs by name, as Triton describes them."""
    return {name: InputTensor(name, TYPES.get(name, "BOOL"), len(shape)) for name in names}


def test_only_what_the_model_takes_is_sent():
    """Triton rejects unknown inputs: those that the model lacks are left out."""
    inputs = choose_inputs("m", metadata(*REQUIRED_INPUTS, "end_id", "temperature"))

    assert [tensor.name for tensor in inputs.tensors] == [*REQUIRED_INPUTS, "end_id"]


@pytest.mark.parametrize("name", REQUIRED_INPUTS)
def test_what_the_measurement_rests_on_is_required(name):
    """A model without one of them is refused with its name."""
    offered = metadata(*(other for other in REQUIRED_INPUTS if other != name))

    with pytest.raises(LoadError, match=f"no input {name}"):
        choose_inputs("m", offered)


def test_an_input_of_another_type_is_refused():
    """A model whose max_tokens is no integer is not TensorRT-LLM's ensemble."""
    offered = metadata(*REQUIRED_INPUTS) | {"max_tokens": InputTensor("max_tokens", "FP32", 2)}

    with pytest.raises(LoadError, match=r"max_tokens .* is FP32"):
        choose_inputs("m", offered)


@pytest.mark.parametrize(("shape", "rank"), [((1,), 1), ((-1, 1), 2)], ids=["plain", "batched"])
def test_a_request_asks_for_an_exact_length(shape, rank):
    """min_tokens equals max_tokens and end_id matches nothing; shapes follow the model's."""
    inputs = choose_inputs("m", metadata(*REQUIRED_INPUTS, *OPTIONAL_INPUTS, shape=shape))
    encoded = serialise_request(inputs, index=7, prompt="añb", output_tokens=300, count_input=True)

    request = service_pb2.ModelInferRequest.FromString(encoded)
    raw = dict(
        zip([tensor.name for tensor in request.inputs], request.raw_input_contents, strict=True)
    )

    assert (request.model_name, request.id) == ("m", "7")
    assert raw["text_input"] == b"\x04\0\0\0a\xc3\xb1b"
    assert raw["max_tokens"] == (300).to_bytes(4, "little")
    assert raw["min_tokens"] == (300).to_bytes(8, "little")
    assert raw["end_id"] == b"\xff\xff\xff\xff"
    assert raw["stream"] == raw["return_num_output_tokens"] == b"\x01"
    assert raw["return_num_input_tokens"] == b"\x01"
    assert {tuple(tensor.shape) for tensor in request.inputs} == {(1,) * rank}
    assert request.parameters["triton_enable_empty_final_response"].bool_param


def test_the_server_is_asked_for_its_inputs(mocked_server):
    """The metadata comes over gRPC from the server itself."""
    mocked_server.script = Script(inputs=REQUIRED_INPUTS)

    inputs = fetch_inputs(mocked_server.server.grpc_url, "ensemble")

    assert [tensor.name for tensor in inputs.tensors] == list(REQUIRED_INPUTS)


def test_an_unknown_model_is_an_error_with_the_servers_words(mocked_server):
    """A server that does not know the model is quoted."""
    with pytest.raises(LoadError, match="Request for unknown model: 'other'"):
        fetch_inputs(mocked_server.server.grpc_url, "other")
