"""The estimator: right for clean pairs, steady when one of them is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.gate.estimator import doubtful_sd, estimate, robust_sd, spread_ratio
from perfgate.gate.looks import two_clusters
from perfgate.gate.losses import from_fraction, log_cost, pair_losses, to_fraction
from perfgate.gate.metrics import LATENCY_P95, THROUGHPUT

pytestmark = pytest.mark.unit

PAIRS = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=14)


def test_the_location_of_clean_pairs_is_their_mean():
    """Nothing is clipped while all pairs lie within 1.5 sd of the median."""
    location, _ = estimate([0.01, 0.02, 0.03, 0.04], 0.03, 20)

    assert location == pytest.approx(0.025)


@given(pairs=PAIRS, worst=st.floats(-1e3, 1e3))
def test_one_bad_run_moves_the_location_by_little(pairs, worst):
    """However bad one pair is, it counts no more than its clipped share."""
    rest = np.array(pairs)
    clean, _ = estimate([*pairs, float(np.median(rest))], 0.02, 20)
    dirty, _ = estimate([*pairs, worst], 0.02, 20)

    half = len(pairs) // 2
    ordered = np.sort(rest)
    step = ordered[min(half + 1, len(ordered) - 1)] - ordered[max(half - 1, 0)]
    assert abs(dirty - clean) <= step * 2 + 1.5 * 0.02 * 2


@given(pairs=PAIRS, shift=st.floats(-0.1, 0.1))
def test_a_slower_candidate_moves_the_location_by_as_much(pairs, shift):
    """The estimator is equivariant: a constant loss is found in full, the sd stays."""
    location, sd = estimate(pairs, 0.02, 20)
    moved, same = estimate(np.array(pairs) + shift, 0.02, 20)

    assert moved == pytest.approx(location + shift, abs=1e-12)
    assert same == pytest.approx(sd)


def test_the_sd_is_shrunk_to_the_calibrated_one():
    """Three pairs that agree by luck do not make a quiet host."""
    _, sd = estimate([0.01, 0.01, 0.01], 0.03, 20)

    assert sd == pytest.approx(0.03 * (20 / 22) ** 0.5)


def test_a_loss_is_not_proven_by_the_calibration_alone():
    """Where a job scatters more than it was calibrated, its own scatter counts; less, not."""
    rng = np.random.default_rng(4)
    for noise in (1.5, 0.5):
        pairs = noise * rng.standard_normal((2000, 14))
        location, sd = estimate(pairs, np.ones(2000), 20)
        doubtful = np.median(doubtful_sd(pairs, location, sd, np.ones(2000)))

        assert doubtful == pytest.approx(
            max(1.38, float(np.median(sd))) if noise > 1 else np.median(sd), rel=0.05
        )
        assert doubtful >= np.median(sd)


def test_the_spread_tells_a_noisier_host_from_one_bad_run():
    """Four times the scatter shows; a single bad run does not."""
    rng = np.random.default_rng(1)
    noisy = spread_ratio(4 * rng.standard_normal((2000, 12)), np.ones(2000))
    one_bad = rng.standard_normal((2000, 12))
    one_bad[:, 0] = 50

    assert np.median(noisy) > 3
    assert np.median(spread_ratio(one_bad, np.ones(2000))) < 1.2


def test_the_robust_sd_is_unbiased_for_normal_values():
    """The factor for winsorising is right, and an outlier changes little."""
    values = np.random.default_rng(2).normal(0, 3, 20_000)

    assert robust_sd(values) == pytest.approx(3, rel=0.02)
    assert robust_sd([*values, 1e6]) == pytest.approx(3, rel=0.02)


def test_slower_is_above_zero_in_every_metric():
    """Less throughput and more latency are both losses, and of the same size."""
    slower = pair_losses(THROUGHPUT, [100.0], [95.0])
    later = pair_losses(LATENCY_P95, [1.0], [1 / 0.95])

    assert slower == pytest.approx((from_fraction(0.05),))
    assert later == pytest.approx(slower)
    assert to_fraction(slower[0]) == pytest.approx(0.05)


def test_an_unpaired_run_waits_for_its_partner():
    """The last run of a longer arm is in no pair."""
    assert len(pair_losses(THROUGHPUT, [100, 101, 102], [100, 101])) == 2


def test_a_value_of_zero_has_no_cost():
    """A server that did nothing is no server that was slow."""
    with pytest.raises(ValueError, match="math domain"):
        log_cost(THROUGHPUT, 0.0)


@pytest.mark.parametrize(
    ("runs", "two"),
    [
        ([1.0, 1.1, 5.0, 5.1], True),
        ([1.0, 1.1, 1.2, 5.0], False),
        ([1.0, 1.1, 1.2, 1.3], False),
        ([1.0, 1.1, 5.0], False),
    ],
    ids=["two and two", "one outlier", "one group", "too few"],
)
def test_two_groups_of_runs_are_seen(runs, two):
    """Two groups need two runs each and a gap of four sd."""
    assert bool(two_clusters(runs, 0.5)) is two
