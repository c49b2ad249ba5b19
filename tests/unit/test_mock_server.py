"""The mocked server speaks the protocol as tritonclient knows it."""

from __future__ import annotations

import queue

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from perfgate.mock_server import Misbehaviour, Script

pytestmark = pytest.mark.unit


@pytest.fixture
def client(mocked_server):
    """Triton's own client, connected to the mocked server."""
    with InferenceServerClient(mocked_server.server.grpc_url) as connected:
        yield connected


def tensor(name, datatype, value):
    """One input of one element."""
    made = InferInput(name, [1, 1], datatype)
    made.set_data_from_numpy(np.array([[value]]))
    return made


def ask(client, *extra, tokens=3):
    """Stream one request; return its responses up to the final one, or the error."""
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    inputs = [
        tensor("text_input", "BYTES", b"hello"),
        tensor("max_tokens", "INT32", np.int32(tokens)),
        *extra,
    ]
    client.async_stream_infer("ensemble", inputs, request_id="7", enable_empty_final_response=True)
    responses = []
    while not (responses and is_final(responses[-1])):
        result, error = answers.get(timeout=60)
        if error is not None:
            raise error
        responses.append(result)
    client.stop_stream()
    return responses


def is_final(result):
    """Whether this was the server's last response."""
    return result.get_response().parameters["triton_final_response"].bool_param


def test_it_is_live_and_ready(client):
    """Health calls answer as Triton's do."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("ensemble")
    assert not client.is_model_ready("other")


def test_it_describes_the_ensemble(client):
    """Metadata names TensorRT-LLM's tensors."""
    metadata = client.get_model_metadata("ensemble")

    assert {"text_input", "max_tokens", "stream"} <= {item.name for item in metadata.inputs}
    assert {"text_output", "num_output_tokens"} <= {item.name for item in metadata.outputs}


def test_an_answer_has_as_many_tokens_as_asked_for(client):
    """Three tokens are three messages and an empty final response, all with the request's id."""
    responses = ask(client, tokens=3)

    assert [response.as_numpy("num_output_tokens").item() for response in responses[:-1]] == [1] * 3
    assert {response.get_response().id for response in responses} == {"7"}
    assert responses[-1].as_numpy("num_input_tokens").item() == 8


def test_messages_bundle_tokens_on_demand(mocked_server, client):
    """Five tokens by two are three messages."""
    mocked_server.script = Script(tokens_per_message=2)

    counts = [r.as_numpy("num_output_tokens").item() for r in ask(client, tokens=5)[:-1]]

    assert counts == [2, 2, 1]


def test_unknown_inputs_are_rejected_as_triton_does(client):
    """An input that the model does not have is an error that names it."""
    with pytest.raises(InferenceServerException, match="unexpected inference input 'nonsense'"):
        ask(client, tensor("nonsense", "INT32", np.int32(1)))


@pytest.mark.parametrize(
    ("after", "times", "hit"),
    [(0, None, [0, 1, 2, 3]), (2, None, [2, 3]), (1, 2, [1, 2]), (1, 0, [])],
)
def test_a_misbehaviour_befalls_whom_the_script_says(after, times, hit):
    """`after` and `times` choose the requests by their order of arrival."""
    script = Script(misbehaviour=Misbehaviour.RESET, after=after, times=times)

    assert [number for number in range(4) if script.befalls(number)] == hit
