"""A sample in few numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import NoSamplesError
from perfgate.measure.distribution import P95_REQUESTS, P99_REQUESTS, describe

pytestmark = pytest.mark.unit

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(np.array)


def test_percentiles_interpolate_linearly():
    """Percentiles are of type 7: P50 of 1..4 is 2.5, P95 of 0..100 is 95."""
    assert describe(np.arange(1.0, 5.0), 4).p50 == 2.5
    assert describe(np.arange(101.0), 101).p95 == 95.0


@pytest.mark.parametrize(
    ("requests", "p95", "p99"),
    [(59, False, False), (60, True, False), (299, True, False), (300, True, True)],
)
def test_a_percentile_needs_a_sample_that_can_hold_it(requests, p95, p99):
    """P95 is left out below 60 requests, P99 below 300."""
    distribution = describe(np.ones(requests), requests)

    assert (distribution.p95 is not None, distribution.p99 is not None) == (p95, p99)


def test_many_gaps_of_few_requests_hold_no_tail():
    """A thousand gaps of ten requests are ten independent things, not a thousand."""
    assert describe(np.ones(1000), 10).p95 is None


@pytest.mark.parametrize(("quantile", "requests"), [(0.95, P95_REQUESTS), (0.99, P99_REQUESTS)])
def test_the_smallest_sample_reaches_beyond_its_quantile(quantile, requests):
    """With the smallest allowed sample the true quantile is exceeded with 95 % confidence."""
    assert quantile**requests < 0.05 <= quantile ** (requests - 2)


def test_nothing_is_not_described_as_zero():
    """No value raises NoSamplesError."""
    with pytest.raises(NoSamplesError):
        describe(np.array([]), 0)


@given(values)
def test_the_order_of_values_is_irrelevant(sample):
    """A sample and its reverse are described alike."""
    forward, backward = describe(sample, 300), describe(sample[::-1], 300)

    assert forward.p99 == backward.p99
    assert forward.mean == pytest.approx(backward.mean)


@given(values)
def test_percentiles_are_ordered(sample):
    """Minimum <= P50 <= P95 <= P99 <= maximum."""
    found = describe(sample, 300)
    ladder = [found.minimum, found.p50, found.p95, found.p99, found.maximum]

    assert all(low <= high * (1 + 1e-12) for low, high in pairwise(ladder))
