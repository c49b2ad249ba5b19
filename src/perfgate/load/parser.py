"""What came back: raw messages to RequestRecords, after the run.

Token counts are the server's own (`num_output_tokens`), never those of re-tokenised text.
TensorRT-LLM counts the tokens of each message. A server that counts all tokens so far is found
out by `are_cumulative` and its counts are differenced; a wrong guess cannot pass unseen, because
the total is held against the requested length when the run is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # ships no types
from tritonclient.grpc import service_pb2

from perfgate.load.repeats import Reader, Response
from perfgate.load.spool import Ending, Exchange
from perfgate.model import RequestRecord, RequestStatus, ServerTimings

OUTPUT_COUNT = "num_output_tokens"
INPUT_COUNT = "num_input_tokens"
TIMINGS = (
    "arrival_time_ns",
    "first_scheduled_time_ns",
    "first_token_time_ns",
    "last_token_time_ns",
)

_INTEGERS = frozenset(("INT32", "INT64", "UINT32", "UINT64"))
_CUMULATIVE_MESSAGES = 3
_STATUS = {
    Ending.FINAL: RequestStatus.OK,
    Ending.REFUSED: RequestStatus.ERROR,
    Ending.BROKEN: RequestStatus.ERROR,
    Ending.DEADLINE: RequestStatus.DEADLINE,
    Ending.STOPPED: RequestStatus.UNFINISHED,
}


class MessageError(Exception):
    """A message is not what the protocol says; its text goes into the request's record."""


@dataclass(slots=True)
class Reading:
    """What an answer's messages say, as far as they could be read.

    `arrivals` are times and numbers of tokens; `counted` is false where the server told only how
    many came in all. `integers` are the last values by name.
    """

    arrivals: list[tuple[int, int]] = field(default_factory=list)
    integers: dict[str, int] = field(default_factory=dict)
    counted: bool = True


def parse_exchange(
    exchange: Exchange, expected: int, read: Callable[[Exchange, Reading], None]
) -> RequestRecord:
    """Turn one exchange into a record; a message that breaks the protocol makes it an ERROR."""
    status, error = _STATUS[exchange.ending], exchange.error
    reading = Reading()
    try:
        read(exchange, reading)
    except MessageError as broken:
        status, error = RequestStatus.ERROR, str(broken)
    return RequestRecord(
        index=exchange.index,
        client=exchange.client,
        due_ns=exchange.due_ns,
        sent_ns=exchange.sent_ns,
        finished_ns=exchange.finished_ns,
        status=status,
        arrivals_ns=tuple(stamp_ns for stamp_ns, _ in reading.arrivals),
        tokens=tuple(tokens for _, tokens in reading.arrivals),
        counted=reading.counted,
        input_tokens=reading.integers.get(INPUT_COUNT),
        expected_output_tokens=expected,
        error=error,
        server=_timings(reading.integers),
    )


def read_messages(
    exchange: Exchange, reading: Reading, *, decode: Callable[[bytes, int], Response]
) -> None:
    """Read messages that each tell their tokens; MessageError for one that breaks the protocol."""
    response = Response({}, final=False)
    for stamp_ns, message in zip(exchange.stamps_ns, exchange.messages, strict=True):
        response = decode(message, exchange.index)
        reading.integers |= response.integers
        if tokens := response.integers.get(OUTPUT_COUNT, 0):
            reading.arrivals.append((stamp_ns, tokens))
    if exchange.ending is Ending.FINAL:
        _check_end(response, reading.integers)


def read_grpc(exchange: Exchange, reading: Reading) -> None:
    """Read Triton's gRPC responses, most of which repeat the one before."""
    reader = Reader(decode, exchange.index)
    read_messages(exchange, reading, decode=lambda message, _: reader.read(message))


def decode(message: bytes, index: int) -> Response:
    """Decode one ModelStreamInferResponse of request `index`.

    Raises MessageError if it is garbled, an error, or meant for another request.
    """
    try:
        envelope = service_pb2.ModelStreamInferResponse.FromString(message)
    except DecodeError as error:
        msg = f"a response of {len(message)} bytes is no ModelStreamInferResponse: {error}"
        raise MessageError(msg) from error
    if envelope.error_message:
        raise MessageError(envelope.error_message)
    response = envelope.infer_response
    if response.id != str(index):
        msg = f"request {index} got a response for request {response.id!r}"
        raise MessageError(msg)
    if len(response.outputs) != len(response.raw_output_contents):
        msg = (
            f"a response names {len(response.outputs)} outputs and brings"
            f" {len(response.raw_output_contents)}"
        )
        raise MessageError(msg)
    integers = {
        output.name: int.from_bytes(raw, "little", signed=True)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        if output.datatype in _INTEGERS
    }
    return Response(
        integers,
        response.parameters["triton_final_response"].bool_param,
        tuple(output.name if output.datatype in _INTEGERS else "" for output in response.outputs),
    )


def settle_counts(records: Sequence[RequestRecord]) -> tuple[RequestRecord, ...]:
    """Return the records with counts for each message, whichever way the server counts."""
    return tuple(map(difference, records)) if are_cumulative(records) else tuple(records)


def are_cumulative(records: Sequence[RequestRecord]) -> bool:
    """Whether the server counts all tokens so far instead of those in the message.

    So if in every request of at least three messages the counts grow strictly and the last one,
    not the sum, is the length asked for.
    """
    long = [
        record
        for record in records
        if record.status is RequestStatus.OK and len(record.tokens) >= _CUMULATIVE_MESSAGES
    ]
    return bool(long) and all(
        record.tokens[-1] == record.expected_output_tokens
        and all(later > earlier for earlier, later in pairwise(record.tokens))
        for record in long
    )


def difference(record: RequestRecord) -> RequestRecord:
    """Turn counts of all tokens so far into counts for each message."""
    counts = (later - earlier for earlier, later in pairwise((0, *record.tokens)))
    return replace(record, tokens=tuple(counts))


def _check_end(last: Response, integers: dict[str, int]) -> None:
    if not last.final:
        msg = "a token's bytes looked like the mark of a final response; the request was cut short"
        raise MessageError(msg)
    if OUTPUT_COUNT not in integers:
        msg = f"the server sent no {OUTPUT_COUNT}: tokens cannot be counted"
        raise MessageError(msg)


def _timings(integers: dict[str, int]) -> ServerTimings | None:
    if not all(integers.get(name) for name in TIMINGS):
        return None
    arrival, scheduled, first, last = (integers[name] for name in TIMINGS)
    return ServerTimings(
        arrival_ns=arrival,
        first_scheduled_ns=scheduled,
        first_token_ns=first,
        last_token_ns=last,
    )
