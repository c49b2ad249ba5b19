"""The lines of the paired gate: recomputed, ordered, and as strict as they say."""

from dataclasses import replace

import numpy as np
import pytest

from perfgate.gate.boundaries import MOST_CELLS, Design, calibrate, stored
from perfgate.gate.looks import look

pytestmark = pytest.mark.unit

JOBS = 20_000


def test_the_stored_lines_are_what_their_design_gives():
    """Nobody types a line by hand: the file holds the outcome of its own inputs."""
    lines = stored()

    assert lines.design == Design()
    assert calibrate(lines.design) == lines


def test_more_cells_need_more_evidence():
    """The false alarms of a job are shared out: four cells have a higher line than one."""
    lines = stored()

    for fewer, more in zip(lines.regression, lines.regression[1:], strict=False):
        assert all(low < high for low, high in zip(fewer, more, strict=True))
    assert len(lines.regression) == MOST_CELLS


def test_early_looks_need_more_evidence_for_a_regression():
    """A regression is not urgent, so the line falls from look to look."""
    for line in stored().regression:
        assert list(line) == sorted(line, reverse=True)
    assert stored().to_regress(3, 1) == float("inf")


def crossed(losses, which):
    """The share of simulated jobs in which `which` is ever seen."""
    lines, hit = stored(), np.zeros(len(losses), bool)
    for pairs in lines.design.looks:
        seen = look(
            losses[:, None, :pairs],
            np.ones((len(losses), 1)),
            tolerance=0.0,
            margin=2.0,
            boundaries=lines,
        )
        hit |= getattr(seen, which)[:, 0]
    return hit.mean()


def test_a_loss_of_the_tolerance_is_rarely_blocked():
    """All looks together err no more often than stated (here, one cell, without any bad run)."""
    losses = np.random.default_rng(5).standard_normal((JOBS, 14))

    share = crossed(losses, "regresses")

    assert 0.002 < share <= 0.03


def test_a_loss_of_the_margin_is_rarely_passed():
    """All looks together pass a bad cell no more often than the design says."""
    losses = 2.0 + np.random.default_rng(6).standard_normal((JOBS, 14))

    share = crossed(losses, "passes")

    assert 0.003 < share <= stored().design.beta


def test_lines_depend_on_the_seed_only_a_little():
    """The simulation is large enough: another seed moves no line by 5 %."""
    other = calibrate(replace(Design(), seed=1, jobs=40_000))

    for mine, theirs in zip(stored().regression, other.regression, strict=True):
        assert theirs == pytest.approx(mine, rel=0.05)
    assert other.passing == pytest.approx(stored().passing, rel=0.05)
