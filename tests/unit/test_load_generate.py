"""Triton's generate extension: requests as JSON, events as responses."""

from __future__ import annotations

import functools
import json

import pytest

from perfgate.errors import LoadError
from perfgate.load.generate import decode, fetch_inputs, serialise
from perfgate.load.parser import parse_exchange, read_messages
from perfgate.load.spool import Ending, Exchange
from perfgate.load.tensors import REQUIRED_INPUTS, InputTensor, ModelInputs
from perfgate.load.wire import END
from perfgate.mock_server import MockServer, Script
from perfgate.model import RequestStatus

pytestmark = pytest.mark.unit


def event(index=3, **tensors):
    """One event of an answer to request `index`."""
    return json.dumps({"id": str(index), "model_name": "m", **tensors}).encode()


def record_of(*messages, ending=Ending.FINAL):
    """The record of an answer to request 3."""
    exchange = Exchange(
        index=3,
        client=0,
        due_ns=1,
        finished_ns=9999,
        ending=ending,
        stamps_ns=[100 * (place + 1) for place in range(len(messages))],
        messages=list(messages),
    )
    return parse_exchange(exchange, 3, functools.partial(read_messages, decode=decode))


def test_a_request_is_an_object_of_tensors():
    """Those that the model takes, with the values that fix the length."""
    names = ("text_input", "max_tokens", "min_tokens", "stream")
    inputs = ModelInputs("mine", tuple(InputTensor(name, "x", 1) for name in names))
    request = serialise(
        inputs, "gb10:8000", index=7, prompt="añb", output_tokens=9, count_input=False
    )
    head, _, body = request.partition(b"\r\n\r\n")

    assert head.startswith(b"POST /v2/models/mine/generate_stream HTTP/1.1\r\nHost: gb10:8000\r\n")
    assert json.loads(body) == {
        "id": "7",
        "text_input": "añb",
        "max_tokens": 9,
        "min_tokens": 9,
        "stream": True,
    }


def test_the_server_is_asked_for_its_inputs():
    """The metadata comes over HTTP too, and an unknown model is quoted."""
    with MockServer(Script(inputs=REQUIRED_INPUTS)) as mock:
        inputs = fetch_inputs(mock.server.http_url, "ensemble")
        with pytest.raises(LoadError, match="Request for unknown model: 'other'"):
            fetch_inputs(mock.server.http_url, "other")

    assert [tensor.name for tensor in inputs.tensors] == list(REQUIRED_INPUTS)
    with pytest.raises(LoadError, match=r"Is the server ready\?"):
        fetch_inputs("http://127.0.0.1:9", "ensemble")


def test_tokens_are_counted_by_the_server():
    """A boolean is no count, and the end of the answer is no message with tokens."""
    record = record_of(
        event(num_output_tokens=1, sequence_end=True),
        event(num_output_tokens=2),
        event(num_input_tokens=8, num_output_tokens=0),
        END,
    )

    assert record.status is RequestStatus.OK
    assert (record.arrivals_ns, record.tokens, record.input_tokens) == ((100, 200), (1, 2), 8)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((event(num_output_tokens=1), b'{"error":"out of memory"}'), "out of memory"),
        ((event(4, num_output_tokens=1), END), "got a response for request '4'"),
        ((b"{}", END), "got a response for request None"),
        ((b"{", END), "is no JSON"),
        ((event(), END), "sent no num_output_tokens"),
        ((event(num_output_tokens=1),), "looked like the mark"),
    ],
)
def test_what_breaks_the_protocol_is_an_error(messages, words):
    """It says why."""
    record = record_of(*messages)

    assert record.status is RequestStatus.ERROR
    assert words in record.error
