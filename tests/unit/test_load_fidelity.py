"""A client's stamps against those of a server that stamps what it sends."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from perfgate.errors import NoSamplesError
from perfgate.load.calibration import read_stamps
from perfgate.load.fidelity import StampedStream, judge_stamps
from perfgate.load.spool import Ending, Exchange
from perfgate.model import Protocol

pytestmark = pytest.mark.unit

MS = 1_000_000


def stream(sent_ms, arrived_ms, asked=None, numbers=None):
    """A request that was sent at 0 and came at 1 ms."""
    return StampedStream(
        asked=len(sent_ms) if asked is None else asked,
        request_sent_ns=0,
        request_came_ns=MS,
        sent_ns=tuple(round(ms * MS) for ms in sent_ms),
        arrived_ns=tuple(round(ms * MS) for ms in arrived_ms),
        numbers=tuple(range(len(sent_ms)) if numbers is None else numbers),
    )


def test_a_constant_lag_is_no_error_of_the_gaps():
    """Every token 3 ms under way: the lag is 3 ms, gaps and their errors are the server's own."""
    found = judge_stamps([stream((10, 30, 50), (13, 33, 53))])

    assert found.lag.p50_s == found.lag.worst_s == pytest.approx(0.003)
    assert found.gap_error.worst_s == 0.0
    assert found.ttft_error.p50_s == pytest.approx(0.004)  # 1 ms there, 3 ms back


def test_one_late_token_is_wrong_in_two_gaps():
    """A reader 5 ms late once stretches one gap and shrinks the next."""
    found = judge_stamps([stream((10, 30, 50), (10, 35, 50))])

    assert found.gap_error.p50_s == pytest.approx(0.005)
    assert found.lag.worst_s == pytest.approx(0.005)


@given(st.integers(0, 5), st.integers(0, 5))
def test_tokens_lost_and_doubled_are_counted(lost, doubled):
    """What is missing of the tokens asked for, and what came twice."""
    times = [10.0 * n for n in range(1, 11 + doubled)]
    numbers = [*range(10), *[9] * doubled]
    found = judge_stamps([stream(times, times, asked=10 + lost, numbers=numbers)])

    assert (found.lost, found.doubled, found.reordered) == (lost, doubled, 0)


def test_an_earlier_token_that_comes_later_is_out_of_order():
    """The server numbers tokens in the order of sending."""
    found = judge_stamps([stream((10, 30, 20), (11, 31, 32), numbers=(0, 2, 1))])

    assert (found.lost, found.doubled, found.reordered) == (0, 0, 1)


def test_a_token_lost_is_not_made_good_by_another_one_doubled():
    """As many tokens as asked for, but one is missing and one came twice."""
    found = stream((10, 20, 30), (10, 20, 30), numbers=(0, 1, 1))

    assert (found.lost, found.doubled, found.reordered) == (1, 1, 0)
    assert stream((10,), (10,), numbers=(7,)).doubled == 1  # somebody else's token


def test_a_request_without_any_token_is_lost_whole():
    """It counts among the lost, and other requests are judged."""
    assert judge_stamps([stream((), (), asked=8), stream((10,), (11,))]).lost == 8


def test_nothing_heard_is_no_calibration():
    """No token at all is an error, not a perfect score."""
    with pytest.raises(NoSamplesError, match="no token arrived"):
        judge_stamps([stream((), (), asked=8)])


def over_grpc(text):
    """A gRPC response with this text, or the final one with none."""
    if not text:
        return b""
    envelope = service_pb2.ModelStreamInferResponse()
    envelope.infer_response.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    envelope.infer_response.raw_output_contents.append(struct.pack("<I", len(text)) + text)
    return envelope.SerializeToString()


def over_http(text):
    """An event with this text, or the end of the answer."""
    return json.dumps({"text_output": text.decode()}).encode() if text else b""


def over_openai(text):
    """A chunk with this text, or the end of the stream, which is not the end of the answer."""
    choices = [{"index": 0, "text": text.decode()}]
    return json.dumps({"choices": choices}).encode() if text else b"[DONE]"


@pytest.mark.parametrize(
    ("protocol", "message"),
    [(Protocol.GRPC, over_grpc), (Protocol.HTTP, over_http), (Protocol.OPENAI, over_openai)],
)
def test_stamps_are_read_from_the_messages(protocol, message):
    """The text of each message holds two times, sending and the request's arrival, and a number."""
    exchange = Exchange(
        index=0,
        client=0,
        due_ns=5,
        sent_ns=6,
        ending=Ending.FINAL,
        stamps_ns=[101, 201, 202],
        messages=[message(b"100 50 0"), message(b"200 50 1"), message(b"")],
    )

    assert read_stamps(exchange, protocol, asked=2) == StampedStream(
        asked=2,
        request_sent_ns=6,
        request_came_ns=50,
        sent_ns=(100, 200),
        arrived_ns=(101, 201),
        numbers=(0, 1),
    )
