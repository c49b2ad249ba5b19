"""What the ensemble answers over the wire, through the real Triton."""

import pytest

from perfgate.serving.tokenizer import load_tokenizer, prompts

pytestmark = pytest.mark.triton

PROMPT = prompts(load_tokenizer(), isl=40, count=1, seed=1)[0]
EXACT = {"end_id": -1, "return_num_input_tokens": True, "return_num_output_tokens": True}


def texts(responses):
    """The text of each response that has one."""
    return [response.tensors["text_output"].decode() for response in responses if response.tensors]


def test_a_stream_brings_every_token_by_itself(client):
    """Streaming: one response a token, each counted as one, the prompt's length exact."""
    responses = client.ask(text_input=PROMPT, max_tokens=12, stream=True, **EXACT)

    assert [response.tensors["num_output_tokens"] for response in responses] == [1] * 12
    assert {response.tensors["num_input_tokens"] for response in responses} == {40}
    assert [response.final for response in responses] == [False] * 11 + [True]


def test_without_streaming_one_response_brings_all_tokens(client):
    """Not streaming: one final response with exactly the tokens asked for."""
    responses = client.ask(
        text_input=PROMPT, max_tokens=12, stream=False, exclude_input_in_output=True, **EXACT
    )

    assert [response.tensors["num_output_tokens"] for response in responses] == [12]
    assert responses[0].final


def test_without_streaming_the_prompt_comes_back_unless_excluded(client):
    """Text and count hold the prompt too, as TensorRT-LLM's backend has it."""
    (response,) = client.ask(text_input=PROMPT, max_tokens=12, stream=False, **EXACT)

    assert response.tensors["num_output_tokens"] == 52
    assert texts([response])[0].startswith(PROMPT)


def test_the_same_question_gets_the_same_answer(client):
    """Streaming or not, the text is the same; another seed gives another one."""
    question = {"text_input": PROMPT, "max_tokens": 12, "end_id": -1}
    whole = client.ask(**question, stream=False, exclude_input_in_output=True)
    streamed = client.ask(**question, stream=True)
    other = client.ask(**question, stream=True, seed=99)

    assert len(texts(whole)[0]) == len("".join(texts(streamed)))
    assert "".join(texts(streamed)) == texts(whole)[0]
    assert texts(other) != texts(streamed)


def end_token(client, seed, place):
    """The id of the token at `place` of the answer with that seed."""
    answer = texts(client.ask(text_input=PROMPT, max_tokens=12, stream=True, end_id=-1, seed=seed))
    (token,) = load_tokenizer().encode(answer[place]).ids
    assert load_tokenizer().decode([token]) == answer[place]
    return token


def test_the_end_token_ends_the_answer(client):
    """With the end id the model will say, the answer stops there and does not hold it."""
    end_id = end_token(client, seed=4, place=3)
    responses = client.ask(
        text_input=PROMPT,
        max_tokens=12,
        stream=True,
        seed=4,
        end_id=end_id,
        return_num_output_tokens=True,
    )

    assert sum(response.tensors["num_output_tokens"] for response in responses) == 3
    assert responses[-1].final


def test_min_tokens_puts_the_end_off(client):
    """An end token before `min_tokens` is not said: the answer goes on."""
    end_id = end_token(client, seed=4, place=3)
    responses = client.ask(
        text_input=PROMPT,
        max_tokens=12,
        min_tokens=12,
        stream=True,
        seed=4,
        end_id=end_id,
        return_num_output_tokens=True,
    )

    assert sum(response.tensors["num_output_tokens"] for response in responses) == 12


def test_performance_metrics_come_with_the_final_response_only(client):
    """The engine's stamps are in order and the KV blocks are those of prompt and output."""
    responses = client.ask(
        text_input=PROMPT, max_tokens=12, stream=True, end_id=-1, return_perf_metrics=True
    )
    final = responses[-1].tensors
    stamps = ("arrival", "first_scheduled", "first_token", "last_token")
    times_ns = [final[f"{stamp}_time_ns"] for stamp in stamps]

    assert all("arrival_time_ns" not in response.tensors for response in responses[:-1])
    assert times_ns == sorted(times_ns)
    assert times_ns[2] < times_ns[3]
    assert final["kv_cache_alloc_total_blocks"] == 2  # 40 + 11 cached tokens, 32 a block
    assert final["kv_cache_reused_blocks"] == 0


def test_tensors_nobody_asked_for_are_not_sent(client):
    """A response carries text and what was asked for, no more: every tensor costs."""
    responses = client.ask(text_input=PROMPT, max_tokens=2, stream=True, end_id=-1)

    assert [set(response.tensors) for response in responses] == [{"text_output"}] * 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"max_tokens": 0}, "max_tokens: got 0, but it must be at least 1"),
        ({"max_tokens": 2040}, "must not exceed 2048 (max_seq_len)"),
        ({"text_input": " ba" * 1600}, "must not exceed 1536 (max_input_len)"),
        ({"text_input": ""}, "text_input: got no text"),
        ({"beam_width": 4}, "beam_width: got 4, but this engine answers with one"),
        ({"return_log_probs": True}, "return_log_probs: got True"),
        ({"stop_words": "ba"}, "stop_words_list: got 'words'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_request_that_cannot_run_gets_the_reason(client, given, reason):
    """Bad input is a Triton error that names field, value and rule; the server lives on."""
    question = {"text_input": PROMPT, "max_tokens": 4, "stream": True, **given}
    (response,) = client.ask(**question)

    assert reason in response.error
    assert len(client.ask(text_input=PROMPT, max_tokens=2, stream=True, end_id=-1)) == 2


def test_more_requests_than_slots_are_all_answered(client):
    """Requests beyond max_batch_size wait for their turn; no token is lost or doubled."""
    for seed in range(24):
        client.send(
            text_input=PROMPT,
            max_tokens=8,
            stream=True,
            end_id=-1,
            seed=seed,
            return_num_output_tokens=True,
        )
    responses = [client.receive() for _ in range(24 * 8)]

    assert not [response.error for response in responses if response.error]
    assert sum(response.tensors["num_output_tokens"] for response in responses) == 24 * 8
    assert sum(response.final for response in responses) == 24
