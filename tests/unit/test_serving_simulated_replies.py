"""Replies say what TensorRT-LLM's backend says, once, in order, and nothing once cancelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.model import ServerTimings
from perfgate.serving.simulated.asks import Ask
from perfgate.serving.simulated.replies import Reply, refuse
from perfgate.sim.scheduler import Emission, SimRequest
from tests.unit.triton_backend import Sender, TritonError

pytestmark = pytest.mark.unit

PROMPT = (5, 6, 7)
TIMINGS = ServerTimings(arrival_ns=1, first_scheduled_ns=2, first_token_ns=3, last_token_ns=4)


def an_ask(*, streaming=True, exclude_input=True, count=True, perf=True):
    """A request for tokens, with all that can be told of them."""
    return Ask(
        request=SimRequest(id=1, prompt_tokens=3, max_tokens=10, min_tokens=0, end_id=None, seed=0),
        prompt=PROMPT,
        streaming=streaming,
        exclude_input=exclude_input,
        count_input=count,
        count_output=count,
        perf_metrics=perf,
    )


def emission(*tokens, final=False):
    """The tokens of one iteration."""
    return Emission(request_id=1, tokens=tokens, final=final)


def play(ask, *iterations):
    """Send what a reply makes of the iterations; the last one is final."""
    sender = Sender()
    reply = Reply(ask, sender, tokens_per_block=2)
    for tokens in iterations[:-1]:
        if send := reply.take(emission(*tokens)):
            send()
    reply.finish(emission(*iterations[-1], final=True), TIMINGS)()
    return sender


def ids(response):
    """The token ids of one response."""
    return response.tensors["output_ids"].ravel().tolist()


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3), min_size=1, max_size=6),
    st.booleans(),
)
def test_no_token_is_lost_or_doubled(iterations, streaming):
    """Streamed or whole, the tokens of all responses are those emitted, and the counts agree."""
    sender = play(an_ask(streaming=streaming), *iterations)

    told = [token for response in sender.responses for token in ids(response)]
    assert told == [token for tokens in iterations for token in tokens]
    counts = [int(r.tensors["num_output_tokens"][0, 0]) for r in sender.responses]
    assert counts == [len(ids(response)) for response in sender.responses]
    assert len(sender.responses) == (len(iterations) if streaming else 1)
    assert sender.finished


def test_without_streaming_the_prompt_comes_first_unless_excluded():
    """As the backend does."""
    whole = play(an_ask(streaming=False, exclude_input=False), (1,), (2,))
    bare = play(an_ask(streaming=False, exclude_input=True), (1,), (2,))

    assert ids(whole.responses[0]) == [*PROMPT, 1, 2]
    assert ids(bare.responses[0]) == [1, 2]


def test_the_engine_s_stamps_come_with_the_last_response_only():
    """In the order arrival, scheduled, first, last; blocks cover all tokens but the last."""
    first, last = play(an_ask(), (1,), (2,)).responses

    assert "arrival_time_ns" not in first.tensors
    stamps = ("arrival", "first_scheduled", "first_token", "last_token")
    assert [int(last.tensors[f"{name}_time_ns"][0, 0]) for name in stamps] == [1, 2, 3, 4]
    blocks = {"alloc_total": 2, "alloc_new": 2, "reused": 0}  # 3 + 2 - 1 tokens, 2 a block
    for name, count in blocks.items():
        assert last.tensors[f"kv_cache_{name}_blocks"][0, 0] == count


def test_the_prompt_s_tokens_are_counted_with_every_response():
    """As many as the prompt had."""
    for response in play(an_ask(), (1,), (2,)).responses:
        assert response.tensors["num_input_tokens"].tolist() == [[3]]


def test_what_nobody_asked_for_is_not_sent():
    """Two tensors the ensemble needs, no more."""
    for response in play(an_ask(count=False, perf=False), (1,), (2,)).responses:
        assert set(response.tensors) == {"output_ids", "sequence_length"}


def test_a_cancelled_request_is_closed_once_and_hears_nothing_more():
    """Whatever the engine still emits for it is dropped."""
    sender = Sender()
    reply = Reply(an_ask(), sender, tokens_per_block=2)
    assert not reply.close_if_cancelled()
    sender.cancelled = True

    assert reply.close_if_cancelled()
    assert not reply.close_if_cancelled()
    reply.take(emission(1))()
    reply.finish(emission(2, final=True), TIMINGS)()

    assert sender.responses == []
    assert len(sender.sent) == 1


def test_a_finished_request_is_not_asked_whether_it_was_cancelled():
    """Triton has forgotten it by then."""
    sender = Sender()
    reply = Reply(an_ask(), sender, tokens_per_block=2)
    reply.finish(emission(1, final=True), TIMINGS)()
    sender.is_cancelled = None  # calling it would raise

    assert not reply.close_if_cancelled()


def test_a_refusal_is_a_final_error_of_the_client_s():
    """One response with the reason."""
    sender = Sender()
    refuse(sender, "isl: got 0")

    (response,) = sender.responses
    assert sender.finished
    assert (response.error.code, str(response.error)) == (TritonError.INVALID_ARG, "isl: got 0")
