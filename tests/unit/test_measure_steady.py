"""Steady state: what drifts is not measured, what merely scatters is."""

from dataclasses import replace

import numpy as np
import pytest

from perfgate.measure.measure import measure
from perfgate.measure.steady import BATCHES, mser_cut, steadiness, trend
from perfgate.measure.window import Window
from perfgate.model import Policy
from tests.unit.factories import a_point, a_record, a_steady_run

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def a_window(rate):
    """A window of 20 s in which tokens arrive at `rate(second)` a second."""
    times, now = [], 0.0
    while now < 20:
        now += 1 / rate(now)
        times.append(round(now * SECOND))
    record = replace(
        a_record(), arrivals_ns=tuple(times), tokens=(1,) * len(times), finished_ns=20 * SECOND
    )
    return Window((0, 20 * SECOND), (record,))


def test_a_steady_rate_has_no_drift():
    """A constant rate is steady to a hundredth of a percent."""
    assert abs(steadiness(a_window(lambda _: 500)).drift()) < 1e-4


@pytest.mark.parametrize("change", [-0.2, 0.2], ids=["slower and slower", "faster and faster"])
def test_a_trend_is_found_with_its_size(change):
    """A line of 20 % over the window is a drift of 20 %."""
    found = steadiness(a_window(lambda second: 500 * (1 + change * second / 20)))

    assert found.drift() == pytest.approx(change, abs=0.03)


def test_a_warm_up_beyond_half_of_the_window_is_no_steady_state():
    """Slow for twelve of twenty seconds: MSER would keep less than half."""
    found = steadiness(a_window(lambda second: 400 if second < 12 else 500))

    assert found.cut == pytest.approx(0.6, abs=0.05)
    assert abs(found.drift()) > 0.15


@pytest.mark.parametrize("noise", [0.02, 0.3], ids=["2 %", "30 %"])
def test_noise_alone_is_seldom_called_a_trend(noise):
    """Of many steady windows, about one in a thousand has a trend, as the rule says."""
    rng = np.random.default_rng(1)
    windows = 1 + noise * rng.standard_normal((4000, BATCHES))

    assert np.mean([trend(batches) != 0 for batches in windows]) < 0.003


def test_few_tokens_a_bin_are_no_drift():
    """Sixty lone tokens, one every third of a second, are as steady as they can be."""
    assert steadiness(a_window(lambda _: 3)).drift() == 0


def test_mser_cuts_the_warm_up_off():
    """Three cold batches before a steady rest are what is dropped."""
    batches = np.array([80, 90, 95] + [100, 101, 99, 100.5] * 4 + [100], dtype=float)

    assert mser_cut(batches) == 3


def test_a_steady_run_is_not_vetoed():
    """A closed loop in perfect steady state passes the rule."""
    measurement = measure(a_steady_run(a_point()), Policy())

    assert "no-steady-state" not in {veto.rule for veto in measurement.vetoes}
