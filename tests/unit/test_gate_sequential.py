"""The paired gate: what each kind of job is told, and when it stops."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.gate.boundaries import stored
from perfgate.gate.looks import look
from perfgate.gate.losses import from_fraction
from perfgate.gate.metrics import LATENCY_P95, THROUGHPUT
from perfgate.gate.multiplicity import discoveries
from perfgate.gate.sequential import advise, smallest_seen, stand
from perfgate.gate.series import Rules, Series
from perfgate.model import Limits, Verdict

pytestmark = pytest.mark.unit

RULES = Rules(tolerance=0.01, margin=0.05, boundaries=stored(), most_pairs=14)
SD = 0.02


def series(loss=0.0, pairs=14, *, seed=1, sd=SD, metric=THROUGHPUT, point="p", screened=False):
    """A cell whose candidate does `loss` less work; the runs scatter so that pairs have `sd`."""
    rng = np.random.default_rng(seed)
    base = 100 * np.exp(rng.normal(0, sd / 2**0.5, pairs))
    candidate = 100 * (1 - loss) * np.exp(rng.normal(0, sd / 2**0.5, pairs))
    if metric is LATENCY_P95:
        base, candidate = 1 / base, 1 / candidate
    return Series(
        point=point,
        metric=metric,
        base=tuple(base),
        candidate=tuple(candidate),
        pair_sd=SD,
        screened=screened,
    )


@pytest.mark.parametrize("metric", [THROUGHPUT, LATENCY_P95], ids=["throughput", "latency"])
@pytest.mark.parametrize(
    ("loss", "verdict"),
    [(0.0, Verdict.PASS), (0.10, Verdict.REGRESSION), (-0.12, Verdict.IMPROVEMENT)],
    ids=["same", "slower", "faster"],
)
def test_a_clear_case_is_decided_as_it_is(metric, loss, verdict):
    """Unchanged passes, 10 % slower does not, 12 % faster is told, in both directions."""
    assert stand([series(loss, metric=metric)], RULES).verdict is verdict


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [(0.0, Verdict.PASS), (0.01, Verdict.REGRESSION)],
    ids=["same", "1 % slower"],
)
def test_a_quiet_cell_can_have_limits_of_its_own(loss, verdict):
    """One percent is found where pairs scatter by a fifth of that, and other cells keep theirs."""
    strict = replace(RULES, own={"p:throughput_tok_s": Limits(tolerance=0.0, margin=0.01)})
    cell = replace(series(loss, sd=0.002), pair_sd=0.002)

    standing = stand([cell, replace(cell, point="q", candidate=cell.base)], strict)

    assert standing.verdict is verdict
    assert stand([cell], RULES).verdict is Verdict.PASS


def test_two_bad_runs_of_the_base_hide_no_loss():
    """Two of the first three pairs hold a bad run of the base: the third is waited for."""
    noise = 0.001 * np.random.default_rng(3).standard_normal((2, 14))
    base, candidate = 100 * np.exp(noise[0]), 90 * np.exp(noise[1])
    base[:2] *= 0.9
    hidden = replace(series(), base=tuple(base), candidate=tuple(candidate))
    seen_late = [stand([cell], RULES) for cell in (hidden, series(0.1))]

    assert stand([replace(hidden, base=hidden.base[:4])], RULES).verdict is None
    assert [one.verdict for one in seen_late] == [Verdict.REGRESSION] * 2


def test_a_loss_within_the_margin_is_red_where_it_can_be_proven():
    """Three pairs of a quiet cell rule out 5 %, and show 3 %: no pass, but the look that proves."""
    quiet = replace(series(0.03, sd=0.002), pair_sd=0.002)
    early = replace(quiet, base=quiet.base[:4], candidate=quiet.candidate[:4])

    assert stand([early], RULES).verdict is None
    assert stand([quiet], RULES).verdict is Verdict.REGRESSION
    assert stand([quiet], RULES).pairs == RULES.boundaries.design.first_regression


def test_the_job_stops_as_soon_as_it_is_decided():
    """An unchanged candidate needs few pairs, and later ones cannot unsay the verdict."""
    standing = stand([series()], RULES)
    turned = replace(series(), candidate=series().candidate[:6] + (50.0,) * 8)

    assert standing.pairs < 8
    assert stand([turned], RULES).verdict is Verdict.PASS


def test_a_job_without_a_decision_goes_on():
    """Two pairs decide nothing, whatever they show."""
    standing = stand([series(0.3, pairs=2)], RULES)

    assert standing.verdict is None


def test_a_spent_budget_is_inconclusive():
    """A loss between tolerance and margin in noise is no pass and no regression."""
    standing = stand([series(0.03)], replace(RULES, most_pairs=4))

    assert standing.verdict is Verdict.INCONCLUSIVE
    assert standing.pairs == 4


def test_one_slow_cell_of_four_is_enough():
    """A regression in any primary cell stops the job red."""
    cells = [series(0.12 if i == 2 else 0.0, seed=i, point=f"p{i}") for i in range(4)]
    standing = stand(cells, RULES)

    assert standing.verdict is Verdict.REGRESSION
    assert [cell.cell for cell in standing.cells if cell.verdict is Verdict.REGRESSION] == [
        "p2:throughput_tok_s"
    ]


def test_a_candidate_that_became_two_servers_is_unstable():
    """Half of the starts slow, the base steady: no pass, a person must look."""
    base = series(pairs=14, sd=0.004)
    split = tuple(100.0 * (1.07 if i % 4 in {0, 3} else 0.93) for i in range(14))
    standing = stand([replace(base, candidate=split)], RULES)

    assert standing.verdict is Verdict.UNSTABLE
    both = stand([replace(base, base=split, candidate=split[::-1])], RULES)
    assert both.verdict is not Verdict.UNSTABLE


def test_pairs_that_scatter_unlike_the_calibration_decide_nothing():
    """Six times the calibrated noise is left open in half of the jobs, identical runs always."""
    noisy = [stand([series(sd=6 * SD, seed=seed)], RULES).verdict for seed in range(60)]
    frozen = stand([series(sd=0.0)], RULES)

    assert noisy.count(Verdict.INVALID) + noisy.count(Verdict.UNSTABLE) >= 25
    assert frozen.verdict is Verdict.INVALID


def test_a_screened_cell_still_can_regress():
    """The screen only passes; pairs that prove a loss outweigh it."""
    cells = [series(0.12, screened=True), series(0.03, seed=4, metric=LATENCY_P95)]

    assert stand(cells, RULES).verdict is Verdict.REGRESSION


def test_all_cells_screened_is_a_pass_without_pairs():
    """What the screen passes costs no pair."""
    assert stand([series(pairs=0, screened=True)], RULES).verdict is Verdict.PASS


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), more=st.floats(0.001, 0.1))
def test_more_loss_never_helps(seed, more):
    """A slower candidate on the same noise gets no better verdict."""
    order = [Verdict.IMPROVEMENT, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.REGRESSION]
    before = series(0.02, seed=seed)
    after = replace(before, candidate=tuple(value * (1 - more) for value in before.candidate))
    one, two = (stand([cell], RULES).verdict for cell in (before, after))

    if one in order and two in order:
        assert order.index(two) >= order.index(one)


def test_more_noise_hides_more():
    """The smallest loss seen grows with the noise and with the number of cells."""
    quiet, noisy = smallest_seen(RULES, 0.01, 1), smallest_seen(RULES, 0.03, 1)

    assert RULES.tolerance < quiet < noisy < smallest_seen(RULES, 0.03, 4)


def test_secondary_cells_advise_only():
    """A slow secondary cell is told with its chance; an unchanged one is not."""
    told = advise([series(0.08, point="slow"), series(0.0, point="same")], RULES)

    assert {one.cell.partition(":")[0]: one.told for one in told} == {"slow": True, "same": False}


def test_benjamini_and_hochberg_s_own_example():
    """The 15 p-values of the 1995 paper at rate 0.05: four are told."""
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.000,
    ]  # fmt: skip
    cells = {f"c{i}": p for i, p in enumerate(p_values)}

    assert discoveries(cells, 0.05) == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize("count", [0, 5])
def test_the_error_is_shared_among_one_to_four_cells(count):
    """No cell, or a fifth, is refused."""
    with pytest.raises(UsageError, match="primary cells"):
        stand([series(point=f"p{i}") for i in range(count)], RULES)


def test_limits_between_which_nothing_lies_are_refused():
    """Tolerance below margin, and a budget for the first look."""
    with pytest.raises(UsageError, match="tolerance"):
        replace(RULES, tolerance=0.05)
    with pytest.raises(UsageError, match="pairs in the budget"):
        replace(RULES, most_pairs=2)
    with pytest.raises(UsageError, match="pair_sd"):
        replace(series(), pair_sd=0.0)


@pytest.mark.parametrize(("loss", "blocked"), [(0.008, False), (0.02, True)], ids=str)
def test_a_loss_within_the_tolerance_is_never_blocked(loss, blocked):
    """However surely it is known, a loss counts as one only over the tolerance."""
    seen = look(
        np.full((1, 14), -np.log1p(-loss)) + np.linspace(-1e-4, 1e-4, 14),
        np.array([1e-4]),
        tolerance=from_fraction(RULES.tolerance),
        margin=from_fraction(RULES.margin),
        boundaries=RULES.boundaries,
    )

    assert bool(seen.regresses[0]) is blocked
