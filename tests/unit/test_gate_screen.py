"""The screen: it passes what is certainly fast enough, and nothing else."""

import numpy as np
import pytest

from perfgate.gate.screen import ERROR, upper_loss_bound

pytestmark = pytest.mark.unit


def test_the_bound_errs_as_often_as_it_says():
    """Of many honest screens, about one in a hundred has a true loss over the bound."""
    rng = np.random.default_rng(3)
    stored = rng.normal(0, 0.02, (40_000, 20))
    candidate = rng.normal(0.05, 0.02, 40_000)

    wrong = (upper_loss_bound(stored, candidate) < 0.05).mean()

    assert 0.5 * ERROR < wrong < 1.6 * ERROR


def test_a_slower_candidate_has_a_higher_bound():
    """The bound moves with the candidate, and an old outlier moves it little."""
    stored = np.linspace(-0.01, 0.01, 12)

    plain = upper_loss_bound(stored, 0.0)
    assert upper_loss_bound(stored, 0.03) == pytest.approx(plain + 0.03)
    assert upper_loss_bound([*stored, 0.5], 0.0) == pytest.approx(plain, abs=0.01)


def test_fewer_sessions_give_a_wider_bound():
    """The same scatter known from fewer days proves less."""
    rng = np.random.default_rng(4)
    few, many = rng.normal(0, 0.02, (2000, 5)), rng.normal(0, 0.02, (2000, 40))

    assert np.median(upper_loss_bound(few, 0.0)) > np.median(upper_loss_bound(many, 0.0))
