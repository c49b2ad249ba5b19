"""Messages that repeat a head are read as protobuf reads them, whatever they are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from perfgate.load.parser import MessageError, decode
from perfgate.load.repeats import Reader
from perfgate.load.wire import FINAL_MARK
from tests.unit.messages import final_message, refusal, token_message

pytestmark = pytest.mark.unit

OUTPUTS = st.lists(
    st.tuples(
        st.sampled_from(("text_output", "num_output_tokens", "sequence_index")),
        st.sampled_from(("BYTES", "INT32")),
        st.binary(max_size=200),
    ),
    max_size=4,
)


@st.composite
def messages(draw):
    """A response of any outputs, sometimes for another request, spoilt or cut."""
    response = service_pb2.ModelInferResponse(model_name="m", id=draw(st.sampled_from("33334")))
    if draw(st.booleans()):
        response.parameters["triton_final_response"].bool_param = draw(st.booleans())
    for name, datatype, raw in draw(OUTPUTS):
        response.outputs.add(name=name, datatype=datatype, shape=[1])
        response.raw_output_contents.append(raw)
    if draw(st.integers(0, 9)) == 0:
        response.raw_output_contents.append(b"one too many")
    whole = service_pb2.ModelStreamInferResponse(infer_response=response).SerializeToString()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(whole)))
        return whole[:cut] + draw(st.binary(max_size=3)) + whole[cut + 1 :]
    return whole


def outcome(read):
    """What reading a message gives, an error included."""
    try:
        response = read()
    except (MessageError, ValueError) as error:
        return str(error)
    return response.integers, response.final


@given(st.lists(messages(), max_size=4), st.lists(st.integers(0, 3), max_size=12))
def test_a_reader_reads_what_protobuf_reads(pool, order):
    """Whatever came before, each message is read as if it stood alone."""
    reader = Reader(decode, 3)
    for position in order:
        message = pool[position] if position < len(pool) else token_message(3, tokens=position)

        assert outcome(lambda m=message: reader.read(m)) == outcome(lambda m=message: decode(m, 3))


def test_a_repeated_head_is_not_decoded_again():
    """Of a long answer only the first message and the last one go through protobuf."""
    decoded = []

    def counting(message, index):
        decoded.append(message)
        return decode(message, index)

    texts = [b" token", b"", b"x" * 5, b"y" * 150, b" end"]
    stream = [token_message(3, tokens=n + 1, text=text) for n, text in enumerate(texts)]
    reader = Reader(counting, 3)
    counts = [reader.read(message).integers["num_output_tokens"] for message in stream]
    last = reader.read(final_message(3))

    assert counts == [1, 2, 3, 4, 5]
    assert (last.final, last.integers["num_input_tokens"]) == (True, 8)
    assert decoded == [stream[0], final_message(3)]


def test_what_looks_like_a_repetition_is_not_taken_for_one():
    """A tensor too many, a cut, another field behind the tensors: protobuf is asked."""
    first = token_message(3, tokens=1)
    asked = []
    reader = Reader(lambda message, index: asked.append(message) or decode(message, index), 3)
    reader.read(first)
    envelope = service_pb2.ModelStreamInferResponse.FromString(first)
    envelope.infer_response.raw_output_contents.append(struct.pack("<i", 9))
    more = envelope.SerializeToString()
    late_error = first + refusal("out of memory")

    for message, words in [
        (more, "names 2 outputs and brings 3"),
        (first[:-1], "no ModelStream"),
        (late_error, "memory"),
    ]:
        with pytest.raises(MessageError, match=words):
            reader.read(message)
        assert asked[-1] == message


def test_a_final_flag_behind_the_tensors_is_seen():
    """Fields may stand in any order: this one is protobuf's business."""
    first = token_message(3, tokens=1)
    reader = Reader(decode, 3)
    reader.read(first)

    assert reader.read(enveloped(response_of(first) + FINAL_MARK)).final


def test_a_tensor_outside_its_response_does_not_count():
    """The envelope says where the response ends; what follows is a field of something else."""
    first = token_message(3, tokens=1)
    reader = Reader(decode, 3)
    reader.read(first)
    last_tensor = 2 + 4  # tag, length, four bytes

    with pytest.raises(MessageError, match="names 2 outputs and brings 1"):
        reader.read(enveloped(response_of(first)[:-last_tensor]) + first[-last_tensor:])


def response_of(message):
    """The response's bytes without their envelope."""
    envelope = service_pb2.ModelStreamInferResponse.FromString(message)
    return envelope.infer_response.SerializeToString()


def enveloped(response):
    """A response's bytes in an envelope that says how many they are."""
    size = len(response)
    length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))
    return b"\x12" + length + response
