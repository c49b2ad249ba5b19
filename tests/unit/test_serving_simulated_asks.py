"""What a request asks of the simulated engine: read exactly, or refused by tensor name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.serving.simulated.asks import read_ask
from tests.unit.triton_backend import numbers

pytestmark = pytest.mark.unit

IDS = st.lists(st.integers(0, 4095), min_size=1, max_size=40)


def given_tensors(ids=(5, 6, 7), length=None, **others):
    """A request's tensors with the required ones filled in."""
    return {
        "input_ids": numbers(*ids),
        "input_lengths": numbers(len(ids) if length is None else length),
        "request_output_len": numbers(12),
        **others,
    }


@given(ids=IDS, padding=st.integers(0, 5), output=st.integers(0, 100), seed=st.integers(0, 2**63))
def test_every_value_arrives(ids, padding, output, seed):
    """Prompt without its padding, lengths, end id and seed are what was sent."""
    ask = read_ask(
        {
            "input_ids": numbers(*ids, *[0] * padding),
            "input_lengths": numbers(len(ids)),
            "request_output_len": numbers(output),
            "min_tokens": numbers(3),
            "end_id": numbers(2),
            "seed": numbers(seed, dtype=np.uint64),
        },
        request_id=9,
    )

    assert ask.prompt == tuple(ids)
    request = ask.request
    assert (request.id, request.prompt_tokens, request.max_tokens) == (9, len(ids), output)
    assert (request.min_tokens, request.end_id, request.seed) == (3, 2, seed)


def test_nothing_is_on_unless_asked():
    """Every flag is off, no end token, no minimum; the prompt decides the seed."""
    ask = read_ask(given_tensors(), request_id=1)
    other = read_ask(given_tensors(ids=(5, 6, 8)), request_id=1)

    assert not any(
        (ask.streaming, ask.exclude_input, ask.count_input, ask.count_output, ask.perf_metrics)
    )
    assert (ask.request.end_id, ask.request.min_tokens) == (None, 0)
    assert ask.request.seed != other.request.seed


@pytest.mark.parametrize(
    ("tensor", "field"),
    [
        ("streaming", "streaming"),
        ("exclude_input_in_output", "exclude_input"),
        ("return_num_input_tokens", "count_input"),
        ("return_num_output_tokens", "count_output"),
        ("return_perf_metrics", "perf_metrics"),
    ],
)
def test_each_flag_has_its_tensor(tensor, field):
    """One tensor turns on one thing."""
    ask = read_ask(given_tensors(**{tensor: numbers(1, dtype=bool)}), request_id=1)
    on = [
        name
        for name in ("streaming", "exclude_input", "count_input", "count_output", "perf_metrics")
        if getattr(ask, name)
    ]

    assert on == [field]


def test_an_end_id_below_zero_is_none():
    """That is how a client asks for a fixed length."""
    assert read_ask(given_tensors(end_id=numbers(-1)), request_id=1).request.end_id is None


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (given_tensors(length=0), "input_lengths: got 0"),
        (given_tensors(length=4), "input_lengths: got 4, but it must lie between 1 and the 3"),
        (given_tensors(beam_width=numbers(4)), "beam_width: got 4"),
        (given_tensors(num_return_sequences=numbers(2)), "num_return_sequences: got 2"),
        (given_tensors(return_log_probs=numbers(1, dtype=bool)), "return_log_probs: got True"),
        (
            given_tensors(return_context_logits=numbers(1, dtype=bool)),
            "return_context_logits: got True",
        ),
        (
            given_tensors(return_generation_logits=numbers(1, dtype=bool)),
            "return_generation_logits: got True",
        ),
        (given_tensors(stop_words_list=np.ones((1, 2, 3))), "stop_words_list"),
        (given_tensors(bad_words_list=np.ones((1, 2, 3))), "bad_words_list"),
        (given_tensors(end_id=numbers(1, 2)), "end_id: got \\[1, 2\\], but it must be one value"),
        ({"input_lengths": numbers(3)}, "input_ids: got None"),
        ({"input_ids": np.ones((2, 3), dtype=np.int32)}, "input_ids: got 'a batch of 2'"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_what_it_cannot_do_is_refused_by_name(tensors, message):
    """A tensor that would have to be ignored is an error with its name, value and rule."""
    with pytest.raises(UsageError, match=message):
        read_ask(tensors, request_id=1)


def test_empty_word_lists_ask_for_nothing():
    """The preprocessing always sends them; only words in them are refused."""
    empty = np.empty((1, 2, 0), dtype=np.int32)

    assert read_ask(given_tensors(stop_words_list=empty, bad_words_list=empty), request_id=1)
