"""Output tokens depend on seed and position only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.sim.tokens import draw_output

pytestmark = pytest.mark.unit

SEEDS = st.integers(-(2**63), 2**64)


@given(seed=SEEDS, longer=st.integers(1, 50), shorter=st.integers(1, 50))
def test_a_shorter_answer_is_the_start_of_a_longer_one(seed, longer, shorter):
    """Asking for fewer tokens changes none of those that come."""
    long = draw_output(seed=seed, max_tokens=longer + shorter, vocab_size=1000)
    short = draw_output(seed=seed, max_tokens=shorter, vocab_size=1000)

    assert long.tokens[:shorter] == short.tokens
    assert all(0 <= token < 1000 for token in long.tokens)


@given(seed=SEEDS, min_tokens=st.integers(0, 30), end_id=st.integers(0, 4))
def test_the_end_token_ends_the_answer_but_not_before_min_tokens(seed, min_tokens, end_id):
    """The end token is never among the tokens, and never cuts them below `min_tokens`."""
    free = draw_output(seed=seed, max_tokens=30, vocab_size=5)
    bound = draw_output(
        seed=seed, max_tokens=30, vocab_size=5, end_id=end_id, min_tokens=min_tokens
    )

    assert end_id not in bound.tokens
    assert len(bound.tokens) >= min_tokens
    assert bound.ended == (end_id in free.tokens[min_tokens:])
    assert bound.tokens[min_tokens:] == free.tokens[min_tokens : len(bound.tokens)]


def test_seeds_differ():
    """Two requests with different seeds say different things."""
    one, two = (draw_output(seed=seed, max_tokens=8, vocab_size=32000) for seed in (1, 2))

    assert one.tokens != two.tokens
