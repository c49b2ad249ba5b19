"""The block pool gives each block to one owner and loses none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.sim.kv_blocks import BlockPool

pytestmark = pytest.mark.unit

ACTIONS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=40)


@given(ACTIONS)
def test_no_block_is_leaked_or_shared(actions):
    """Whatever is grown and released, every block has one owner or is free."""
    pool = BlockPool(kv_cache_tokens=40, tokens_per_block=4)

    for owner, tokens in actions:
        if tokens:
            pool.grow(owner, tokens)
        else:
            pool.release(owner)
        owned = [block for table in pool.tables.values() for block in table]
        assert len(owned) == len(set(owned)) == pool.used
        assert pool.used + pool.free == pool.capacity == 10


def test_growth_that_does_not_fit_takes_nothing():
    """A refused growth leaves the pool as it was."""
    pool = BlockPool(kv_cache_tokens=12, tokens_per_block=4)
    pool.grow(1, 5)

    assert not pool.grow(2, 8)
    assert (pool.used, pool.free) == (2, 1)


def test_growth_counts_whole_blocks():
    """The fourth token still fits a block of four, the fifth opens the next."""
    pool = BlockPool(kv_cache_tokens=40, tokens_per_block=4)

    assert pool.grow(1, 4)
    assert pool.used == 1
    assert pool.grow(1, 5)
    assert pool.used == 2


def test_a_cache_below_one_block_is_refused():
    """A KV cache that holds no block is a mistake in the serving spec."""
    with pytest.raises(UsageError, match=r"kv_cache_tokens: got 3, .*one block of 4 tokens"):
        BlockPool(kv_cache_tokens=3, tokens_per_block=4)
