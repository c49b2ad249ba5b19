"""The rehearsal of many jobs says of each what the gate says of it alone."""

from dataclasses import replace

import numpy as np
import pytest

from perfgate.gate.boundaries import stored
from perfgate.gate.components import components, run_sd
from perfgate.gate.losses import from_fraction
from perfgate.gate.metrics import LATENCY_P95
from perfgate.gate.rehearsal import VERDICTS, arms, rehearse
from perfgate.gate.screen import upper_loss_bound
from perfgate.gate.sequential import stand
from perfgate.gate.series import Rules, Series
from perfgate.model import Limits

pytestmark = pytest.mark.unit

RULES = Rules(tolerance=0.01, margin=0.05, boundaries=stored(), most_pairs=14)


OWN = {"p0:latency_p95_s": Limits(tolerance=0.0, margin=0.03)}


def alone(costs, sd, stored_costs, rules):
    """One job through the sequential gate."""
    candidate = arms(len(costs), screened=stored_costs is not None)
    cells = []
    for i in range(costs.shape[1]):
        base, changed = costs[~candidate, i], costs[candidate, i]
        screened = stored_costs is not None and bool(
            upper_loss_bound(stored_costs[i], changed[0])
            < from_fraction(rules.of(f"p{i}:latency_p95_s").margin)
        )
        cells.append(
            Series(
                point=f"p{i}",
                metric=LATENCY_P95,
                base=tuple(np.exp(base)),
                candidate=tuple(np.exp(changed)),
                pair_sd=float(sd[i]),
                screened=screened,
            )
        )
    return stand(cells, rules).verdict


@pytest.mark.parametrize("screened", [False, True], ids=["pairs", "screen"])
@pytest.mark.parametrize("noise", [1.0, 3.0], ids=["calibrated", "noisier"])
@pytest.mark.parametrize("own", [{}, OWN], ids=["one limit", "own limits"])
def test_rehearsed_jobs_get_the_gate_s_own_verdicts(screened, noise, own):
    """Two cells, every kind of loss and noise: both ways agree on all of 150 jobs."""
    rng = np.random.default_rng(7)
    costs = rng.normal(0, 0.015 * noise, (150, 28, 2))
    losses = rng.choice([-0.1, 0, 0.03, 0.05, 0.1], (150, 1))
    costs[:, arms(28, screened=screened), 0] += losses
    split = rng.random((150, 28)) < 0.3
    costs[::5, :, 0] += 0.15 * split[::5]
    sd = np.full((150, 2), 0.021)
    days = rng.normal(0, 0.02, (150, 2, 20)) if screened else None

    rules = replace(RULES, own=own)
    names = [f"p{i}:latency_p95_s" for i in range(2)]

    outcome = rehearse(costs, sd, rules, stored=days, names=names)

    expected = [
        alone(costs[i], sd[i], None if days is None else days[i], rules) for i in range(150)
    ]
    assert [VERDICTS[index] for index in outcome.verdict] == expected
    assert len(set(expected)) >= 4


def test_arms_alternate_so_that_a_linear_drift_cancels():
    """B C C B: over two pairs both arms have the same mean position."""
    for screened in (False, True):
        candidate = arms(28, screened=screened)

        assert list(candidate[:4]) == [screened, not screened, not screened, screened]
        for first in range(0, 28, 4):
            places = np.arange(first, first + 4)
            quad = candidate[first : first + 4]
            assert places[quad].mean() == places[~quad].mean()


def test_components_tell_days_boots_and_windows_apart():
    """Planted components are found again, from many sessions."""
    rng = np.random.default_rng(8)
    sessions = [
        [list(day + boot + rng.normal(0, 0.01, 3)) for boot in rng.normal(0, 0.02, 6)]
        for day in rng.normal(0, 0.03, 300)
    ]

    found = components(sessions)

    assert found.session_sd == pytest.approx(0.03, rel=0.1)
    assert found.boot_sd == pytest.approx(0.02, rel=0.1)
    assert found.window_sd == pytest.approx(0.01, rel=0.1)
    assert (found.sessions, found.boots, found.boots_df) == (300, 1800, 1500)


def test_a_component_that_was_not_repeated_is_unknown():
    """One window a boot says nothing of windows, one session nothing of days: None, not 0."""
    found = components([[[0.1], [0.2]]])

    assert found.window_sd is None
    assert found.session_sd is None
    assert found.boot_sd == pytest.approx(0.0707, rel=0.01)


def test_days_do_not_enter_the_sd_of_runs():
    """However far days lie apart, the sd within them is found without bias."""
    rng = np.random.default_rng(9)
    runs = rng.normal(0, 0.02, (3000, 4, 10)) + rng.normal(0, 0.5, (3000, 4, 1))

    assert np.sqrt((run_sd(runs) ** 2).mean()) == pytest.approx(0.02, rel=0.02)
