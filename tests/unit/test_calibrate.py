"""Calibration: sessions add up, and the advice follows from the host's own noise."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from perfgate import calibration
from perfgate.calibrate import advice_text, measure_session, outlook, with_session
from perfgate.errors import BaselineError
from perfgate.gate.budget import recommended
from perfgate.model import PairedPolicy, Veto
from tests.unit.factories import a_measurement, a_point

pytestmark = pytest.mark.unit

POINT = "fp8-b192-c160"
POLICY = PairedPolicy(primary=(f"{POINT}:throughput_tok_s",))


class Host:
    """Opens made-up rigs whose runs scatter by `sd`."""

    def __init__(self, sd, *, seed=1, vetoes=()):
        self.sd, self.vetoes = sd, vetoes
        self.rng = np.random.default_rng(seed)
        self.boots, self.measured = [], []

    @contextmanager
    def open(self, boot):
        """Count boots."""
        self.boots.append(boot)
        yield self

    def measure(self, point):
        """One window."""
        self.measured.append(point.id)
        speed = 3000 * np.exp(self.rng.normal(0, self.sd))
        return a_measurement(point, throughput_tok_s=speed, vetoes=self.vetoes)


def a_session(host, *, boots=10, windows=1):
    """One sitting on a host."""
    points = [a_point(POINT)]
    return measure_session(
        POLICY, points, host.open, boots=boots, windows=windows, say=lambda _: None
    )


def known(sd, sessions=4):
    """A host calibrated on several days."""
    host, found = Host(sd), None
    for _ in range(sessions):
        found = with_session("gb10-sim", found, a_session(host), 3.5, measured_at="2026-01-01")
    return found


def test_a_session_boots_afresh_and_measures_every_window():
    """Ten boots of two windows are ten servers and twenty measurements."""
    host = Host(0.01)
    session = a_session(host, windows=2)

    assert host.boots == list(range(10))
    assert host.measured[:2] == [POINT, f"{POINT}-w1"]
    assert [len(boot) for boot in session[POLICY.primary[0]]] == [2] * 10


def test_sessions_add_up():
    """Each day's run of the command adds its session to those before."""
    parts = known(0.01).components[POLICY.primary[0]]

    assert (parts.sessions, parts.boots, parts.boots_df) == (4, 40, 36)


def test_a_vetoed_run_calibrates_nothing():
    """A host that cannot be measured cannot be calibrated."""
    slow_client = Veto(rule="client-cpu", message="the load client was slow")
    host = Host(0.01, vetoes=(slow_client,))

    with pytest.raises(BaselineError, match="the load client was slow"):
        a_session(host)


def test_a_quiet_host_is_told_a_budget_and_a_noisy_one_to_be_quieter():
    """The recommendation follows from rehearsed jobs, not from a rule of thumb."""
    quiet, noisy = known(0.008), known(0.06)

    assert recommended(outlook(quiet, POLICY)).power >= 0.95
    assert recommended(outlook(noisy, POLICY)) is None
    assert "budget_minutes =" in advice_text(quiet, POLICY)
    assert "lower the noise" in advice_text(noisy, POLICY)


def test_more_pairs_see_smaller_losses():
    """Prospects improve with the budget, and cost more at most."""
    found = outlook(known(0.015), POLICY)

    assert [one.pairs for one in found] == list(range(5, 15))
    seen = [one.smallest_seen for one in found]
    assert seen == sorted(seen, reverse=True)
    assert found[-1].power > found[0].power
    assert found[-1].most_minutes == pytest.approx(98)


def test_one_session_arms_nothing():
    """Nine degrees of freedom are too few for the gate's lines: calibrate on another day."""
    thin = known(0.008, sessions=1)

    assert not calibration.enough(thin, POLICY.primary[0])
    assert "another day" in advice_text(thin, replace(POLICY))
