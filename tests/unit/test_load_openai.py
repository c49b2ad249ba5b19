"""OpenAI-compatible servers: what is asked, what chunks say, and what cannot be known."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import LoadError
from perfgate.load.openai import Extensions, fetch_extensions, read, serialise
from perfgate.load.parser import parse_exchange
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Ending, Exchange
from perfgate.load.wire import END
from perfgate.mock_server import Misbehaviour, MockServer, Script
from perfgate.model import Protocol, RequestStatus, Workload

pytestmark = pytest.mark.unit


def chunk(text=" a", total=None, **more):
    """One event; `total` is the usage so far, if the server tells it."""
    usage = None if total is None else {"prompt_tokens": 5, "completion_tokens": total}
    return json.dumps({"choices": [{"text": text}], "usage": usage, **more}).encode()


def usage(total):
    """The event that only counts."""
    told = {"prompt_tokens": 5, "completion_tokens": total}
    return json.dumps({"choices": [], "usage": told}).encode()


def record_of(*messages, expected=4, ending=Ending.FINAL):
    """The record of an answer whose messages came at 100, 200, ... ns."""
    exchange = Exchange(
        index=0,
        client=0,
        due_ns=1,
        finished_ns=9999,
        ending=ending,
        stamps_ns=[100 * (place + 1) for place in range(len(messages))],
        messages=list(messages),
    )
    return parse_exchange(exchange, expected, read)


def test_counts_of_each_chunk_are_the_server_s_own():
    """Where every chunk tells the tokens so far, the difference is its own."""
    record = record_of(chunk(total=1), chunk(total=3), chunk("", 4), usage(4), b"[DONE]", END)

    assert (record.arrivals_ns, record.tokens) == ((100, 200, 300), (1, 2, 1))
    assert record.counted


def test_llama_server_counts_in_its_timings():
    """Its chunks carry no usage until the last, but all tokens so far beside their times."""
    timed = [chunk(timings={"predicted_n": n, "predicted_ms": 0.1}) for n in (1, 3)]
    record = record_of(*timed, chunk("", 4, timings={"predicted_n": 4}), b"[DONE]", END)

    assert (record.tokens, record.counted, record.input_tokens) == ((1, 2, 1), True, 5)


@pytest.mark.parametrize("last", [chunk("", 4), chunk("\N{REPLACEMENT CHARACTER}", 4)])
def test_a_token_without_text_came_when_it_was_counted(last):
    """Half a character has no text yet: it is no part of the next chunk, nor lost as the last."""
    record = record_of(chunk(total=1), chunk("", 2), chunk(total=3), last, usage(4), b"[DONE]", END)

    assert (record.arrivals_ns, record.tokens) == ((100, 200, 300, 400), (1, 1, 1, 1))
    assert record.counted


def test_one_token_a_chunk_is_told_by_the_total():
    """As many chunks with text as tokens: each brought one."""
    record = record_of(chunk(), chunk(), chunk(), chunk(), usage(4), b"[DONE]", END)

    assert (record.tokens, record.counted, record.input_tokens) == ((1, 1, 1, 1), True, 5)
    assert record.status is RequestStatus.OK


@given(st.integers(1, 30), st.integers(1, 200))
def test_a_total_alone_is_spread_and_said_to_be(chunks, total):
    """No token is lost or made up, and nobody takes the spread for a count."""
    record = record_of(*[chunk()] * chunks, usage(total), b"[DONE]", END, expected=total)

    assert record.output_tokens == total
    assert max(record.tokens) - min(record.tokens) <= 1
    assert record.counted is (chunks == total)
    assert record.status is RequestStatus.OK


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((chunk(), b"[DONE]", END), "sent no usage"),
        ((chunk(), usage(1), END), "without [DONE]"),
        ((chunk(), b"{", END), "is no JSON"),
        ((chunk(), b"[1]", END), "no JSON object"),
        ((chunk(), b'{"error": {"message": "out of memory"}}'), "out of memory"),
        ((b'{"object": "error", "message": "too long"}',), "too long"),
    ],
)
def test_an_answer_that_cannot_be_counted_is_an_error(messages, words):
    """It says why; nothing is guessed."""
    record = record_of(*messages)

    assert record.status is RequestStatus.ERROR
    assert words in record.error


def test_an_answer_that_was_stopped_has_no_fault():
    """What came until then is kept."""
    record = record_of(chunk(total=1), chunk(total=2), ending=Ending.STOPPED)

    assert (record.status, record.tokens) == (RequestStatus.UNFINISHED, (1, 1))


def body_of(fields):
    """The JSON of a request to a server that takes these fields."""
    request = serialise(
        Extensions("m", frozenset(fields), salt="s"),
        "x:1",
        index=0,
        prompt="añb",
        output_tokens=7,
        count_input=True,
    )
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return json.loads(body)


def test_only_what_the_server_takes_is_sent():
    """An exact length and running counts where they can be had."""
    plain = body_of([])
    full = body_of(
        ["min_tokens", "ignore_eos", "timings_per_token", "cache_salt", "continuous_usage_stats"]
    )

    assert plain == {
        "model": "m",
        "prompt": "añb",
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert full == {
        **plain,
        "min_tokens": 7,
        "ignore_eos": True,
        "timings_per_token": True,
        "cache_salt": "s",
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


def test_no_load_finds_the_prompts_of_another_in_the_cache():
    """Drawn from one seed they are the same; requests of one load may share what they share."""
    one, other = (Extensions("m", frozenset(["cache_salt"])) for _ in range(2))
    ask = functools.partial(
        serialise, authority="x:1", index=0, prompt="a", output_tokens=7, count_input=True
    )

    assert ask(one) == ask(one)
    assert ask(one) != ask(other)


def test_the_server_s_own_description_decides():
    """It is asked for, and a server that is not there is an error."""
    with MockServer(Script(completion_fields=("ignore_eos",))) as mock:
        assert fetch_extensions(mock.server.http_url, "m").fields == {"ignore_eos"}
    with pytest.raises(LoadError, match="no OpenAI-compatible server answers"):
        fetch_extensions("http://127.0.0.1:9", "m")


def drive(mock, tmp_path):
    """A small closed loop against a mocked server."""
    load = RunningLoad(
        replace(mock.server, protocol=Protocol.OPENAI),
        Workload(concurrency=3, isl=8, osl=6),
        [f"prompt {number}" for number in range(60)],
        spool=tmp_path,
    )
    with load:
        load.ramp_up()
        load.round(9)
        return load.finish()


def outcome_of(script, tmp_path):
    """What the loop brings against a server of that script."""
    with MockServer(script) as mock:
        return drive(mock, tmp_path)


bundled = functools.partial(Script, tokens_per_message=2)


@pytest.mark.parametrize(
    ("script", "tokens", "counted"),
    [
        (Script(), (1,) * 6, True),
        (Script(completion_fields=()), (1,) * 6, True),
        (bundled(), (2,) * 3, True),
        (bundled(completion_fields=()), (2,) * 3, False),
    ],
    ids=["running", "total", "bundles, running", "bundles, total"],
)
def test_a_load_counts_what_the_server_counts(script, tokens, counted, tmp_path):
    """End to end: every request of full length brought what usage says."""
    outcome = outcome_of(script, tmp_path)
    full = [record for record in outcome.records if record.expected_output_tokens == 6]

    assert {record.status for record in outcome.records} == {RequestStatus.OK}
    assert {(record.tokens, record.counted) for record in full} == {(tokens, counted)}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (Script(misbehaviour=Misbehaviour.TRUNCATED, after=5, times=1), "in the midst of"),
        (Script(misbehaviour=Misbehaviour.OUT_OF_MEMORY, after=5, times=1), "out of memory"),
        (Script(misbehaviour=Misbehaviour.REFUSED, after=5, times=1), "HTTP 400: unexpected"),
    ],
    ids=["truncated", "error", "refused"],
)
def test_one_failure_is_recorded_and_the_load_goes_on(script, words, tmp_path):
    """With the server's words, and all the others well."""
    outcome = outcome_of(script, tmp_path)
    (failed,) = [record for record in outcome.records if record.status is RequestStatus.ERROR]

    assert words in failed.error
    assert len(outcome.marks_ns) == 2


def test_a_server_that_counts_nothing_ends_the_load_with_errors(tmp_path):
    """No usage, no tokens: every request is an ERROR that says so."""
    outcome = outcome_of(Script(usage=False, completion_fields=()), tmp_path)

    assert {record.status for record in outcome.records} == {RequestStatus.ERROR}
    assert "no usage" in outcome.records[0].error


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("answers", [1, 2])
def test_a_server_may_close_a_connection_after_an_answer(answers, silently, tmp_path):
    """With or without a word in the answer's head: no request is lost, none is sent twice."""
    script = Script(answers_per_connection=answers, closes_silently=silently, itl_s=0.0)
    with MockServer(script) as mock:
        outcome = drive(mock, tmp_path)

    assert {record.status for record in outcome.records} == {RequestStatus.OK}
    assert outcome.faults == ()
    assert len(mock.prompts) == len(set(mock.prompts)) == len(outcome.records)
