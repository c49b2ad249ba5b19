"""Bands hold what they say they hold."""

import numpy as np
import pytest

from perfgate.measure.bands import mean_band, quantile_band

pytestmark = pytest.mark.unit


def test_the_band_of_a_mean_is_students():
    """Four rounds of sd 1 around 10: t(0.975, 3) / 2 = 1.591 to each side."""
    low, high = mean_band([10 - 1.5**0.5, 10 + 1.5**0.5, 10.0, 10.0])

    assert high - 10 == pytest.approx(10 - low) == pytest.approx(3.182446 / 2, rel=1e-6)


def test_one_round_has_no_band():
    """One value has no scatter, which is not a band of zero width."""
    assert mean_band([3000.0]) is None


def test_both_bands_cover_in_19_of_20_runs():
    """Over many made-up runs the truth lies inside as often as promised."""
    rng = np.random.default_rng(1)
    means = [mean_band(rng.normal(3000, 30, 4).tolist()) for _ in range(2000)]
    p95s = [quantile_band(rng.exponential(1.0, 320).tolist(), 0.95) for _ in range(2000)]

    assert np.mean([low <= 3000 <= high for low, high in means]) == pytest.approx(0.95, abs=0.015)
    covered = np.mean([low <= -np.log(0.05) <= high for low, high in p95s])
    assert 0.95 <= covered <= 0.98  # order statistics are steps, so that it errs to the safe side


def test_a_small_sample_has_no_band_of_its_p95():
    """Of 60 requests none need lie above the band: there is no upper end."""
    assert quantile_band(list(range(60)), 0.95) is None
    assert quantile_band(list(range(320)), 0.95) is not None
