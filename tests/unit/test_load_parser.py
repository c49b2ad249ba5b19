"""Raw messages become records; whatever breaks the protocol becomes an ERROR."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load.parser import are_cumulative, read_grpc, settle_counts
from perfgate.load.parser import parse_exchange as parse
from perfgate.load.spool import Ending, Exchange
from perfgate.load.wire import ERROR_TAG, FINAL_MARK
from perfgate.model import RequestStatus
from tests.unit.factories import a_record
from tests.unit.messages import final_message, hollow_message, refusal, token_message

pytestmark = pytest.mark.unit


def parse_exchange(heard, expected):
    """A record of what came over gRPC."""
    return parse(heard, expected, read_grpc)


def exchange(*messages, ending=Ending.FINAL, index=3):
    """An exchange whose messages came at 100, 200, ... ns."""
    return Exchange(
        index=index,
        client=1,
        due_ns=10,
        sent_ns=20,
        finished_ns=100 * len(messages),
        ending=ending,
        stamps_ns=[100 * (position + 1) for position in range(len(messages))],
        messages=list(messages),
    )


def test_tokens_are_counted_by_the_server():
    """Arrivals are the messages with tokens, counts are the server's, the rest is taken over."""
    record = parse_exchange(
        exchange(token_message(3, tokens=1), token_message(3, tokens=2), final_message(3)), 3
    )

    assert record.status is RequestStatus.OK
    assert (record.arrivals_ns, record.tokens) == ((100, 200), (1, 2))
    assert (record.input_tokens, record.expected_output_tokens) == (8, 3)
    assert (record.due_ns, record.sent_ns, record.finished_ns) == (10, 20, 300)
    assert record.server is not None
    assert record.server.arrival_ns < record.server.last_token_ns


def test_the_last_token_may_carry_the_final_flag():
    """A backend that marks its last token as final needs no empty response after it."""
    record = parse_exchange(exchange(token_message(3, tokens=4, final=True)), 4)

    assert (record.status, record.tokens) == (RequestStatus.OK, (4,))


def test_the_hot_paths_marks_are_those_of_the_protocol():
    """The bytes that the worker looks for are in a final response and an error, and only there."""
    assert FINAL_MARK in final_message(3)
    assert FINAL_MARK not in token_message(3, tokens=1)
    assert refusal("no").startswith(ERROR_TAG)
    assert not token_message(3, tokens=1).startswith(ERROR_TAG)


def test_a_token_that_looks_like_the_end_is_found_out():
    """A text that holds the mark's bytes ended the exchange early: the request is no OK."""
    record = parse_exchange(exchange(token_message(3, tokens=1, text=FINAL_MARK)), 1)

    assert record.status is RequestStatus.ERROR
    assert "looked like the mark" in record.error


def test_a_refusal_is_quoted():
    """An error message ends the request with the server's words."""
    record = parse_exchange(exchange(refusal("out of memory"), ending=Ending.REFUSED), 1)

    assert (record.status, record.error) == (RequestStatus.ERROR, "out of memory")


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Ending.BROKEN, RequestStatus.ERROR),
        (Ending.DEADLINE, RequestStatus.DEADLINE),
        (Ending.STOPPED, RequestStatus.UNFINISHED),
    ],
)
def test_tokens_of_unfinished_requests_are_kept(ending, status):
    """Whatever ended the exchange, what had arrived is in the record."""
    record = parse_exchange(exchange(token_message(3, tokens=1), ending=ending), 4)

    assert (record.status, record.tokens) == (status, (1,))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff\xff", "no ModelStreamInferResponse"),
        (token_message(2, tokens=1), "request 3 got a response for request '2'"),
        (hollow_message(3), "names 1 outputs and brings 0"),
    ],
    ids=["garbled", "another request's", "an output without its bytes"],
)
def test_what_breaks_the_protocol_is_an_error(message, reason):
    """A garbled or misdirected message makes the request an ERROR that says why."""
    record = parse_exchange(exchange(message, final_message(3)), 1)

    assert record.status is RequestStatus.ERROR
    assert reason in record.error


def test_a_server_that_counts_nothing_is_an_error():
    """Without counts there are no tokens, and zero is not the answer."""
    assert parse_exchange(exchange(final_message(3)), 1).status is RequestStatus.ERROR


def test_running_totals_are_differenced():
    """Counts that grow up to the length asked for become counts for each message."""
    totals = [replace(a_record(i), tokens=(1, 2, 4), expected_output_tokens=4) for i in range(3)]

    assert {record.tokens for record in settle_counts(totals)} == {(1, 1, 2)}


def test_bundles_of_growing_size_are_not_taken_for_totals():
    """Growing counts whose sum is the length asked for are counts for each message."""
    bundles = [replace(a_record(), tokens=(1, 2, 3), expected_output_tokens=6)]

    assert settle_counts(bundles) == tuple(bundles)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_counts_that_add_up_are_never_changed(tokens):
    """Whatever the pattern, counts that add up to the length asked for stay as they are."""
    record = replace(a_record(), tokens=tuple(tokens), expected_output_tokens=sum(tokens))

    assert not are_cumulative([record])
