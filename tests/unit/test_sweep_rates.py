"""Which rate is offered next, what it takes, and what follows from what was answered."""

from dataclasses import replace
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import LoadError, UsageError
from perfgate.model import ArrivalProcess, Veto
from perfgate.sweep.choice import Done
from perfgate.sweep.rate_result import rate_result
from perfgate.sweep.rates import NextRate, Offered, next_rate, rate_seconds, sampling_of
from tests.unit.sweep_samples import KEEPS_UP, Rigs, a_rate_plan, a_rate_sweep

pytestmark = pytest.mark.unit

BUSY = (Veto(rule="client-cpu", message="the load client was slow"),)


def offered(plan, holds):
    """Follow the choice to its end: what was offered in order, and the last word."""
    seen = []
    while isinstance(step := next_rate(plan, seen), NextRate):
        rate = step.requests_per_s
        seen.append(Offered(requests_per_s=rate, seconds=step.expected_s, held=rate <= holds))
        assert len(seen) < 60, "it never ends"
    return [one.requests_per_s for one in seen], step.why


@given(holds=st.floats(1.0, 5000.0))
def test_the_highest_rate_that_holds_is_found_to_a_sixteenth(holds):
    """Whatever it is, in few steps: doubled up to it, halved down to it."""
    rates, why = offered(a_rate_plan(), holds)
    best = max(rate for rate in rates if rate <= holds)
    least = min(rate for rate in rates if rate > holds)

    assert best <= holds < least
    assert least - best <= least / 16
    assert len(rates) <= 2 + log2(holds) + 5
    assert "known to a sixteenth" in why


def test_a_server_that_holds_nothing_ends_the_search():
    """At a request in sixteen seconds."""
    rates, why = offered(a_rate_plan(), 0.0)

    assert rates == [1.0, 0.5, 0.25, 0.125, 0.0625]
    assert why == "not even 0.0625 requests/s holds"


def test_a_list_is_offered_in_rising_order_whatever_comes():
    """Each once, and nothing besides."""
    rates, why = offered(a_rate_plan(rates=(16.0, 4.0, 40.0, 4.0)), 10)

    assert rates == [4.0, 16.0, 40.0]
    assert why == "every rate asked for is measured"


def test_a_rate_beyond_the_budget_is_not_begun():
    """The last word says which one, and what it would have taken."""
    plan = a_rate_plan(budget_s=200)
    rates, why = offered(plan, 100)

    assert sum(rate_seconds(plan, rate) for rate in rates) <= 200
    assert f"{2 * rates[-1]:g} requests/s (the rate before held) would take" in why


def test_a_rate_that_could_not_be_measured_ends_the_search():
    """Neither side of it may be guessed."""
    seen = [Offered(requests_per_s=1.0, seconds=1.0, held=None)]

    assert next_rate(a_rate_plan(), seen) == Done(why="1 requests/s could not be measured")


def test_a_higher_rate_that_held_does_not_end_the_search():
    """It was offered by an earlier list: the answer lies below the one that failed."""
    seen = [Offered(requests_per_s=r, seconds=1.0, held=r != 8.0) for r in (2.0, 8.0, 16.0)]

    assert next_rate(a_rate_plan(), seen).requests_per_s == 5.0


@pytest.mark.parametrize("rate", [0.25, 1.0, 24.0, 300.0])
def test_rounds_take_eight_seconds_and_hold_a_p95(rate):
    """Slow rates take longer: four rounds hold sixty requests."""
    sampling = sampling_of(a_rate_plan(), rate)

    assert sampling.round_requests >= max(15, 8 * rate)
    assert sampling.round_requests < max(16, 8 * rate + 1)
    assert rate_seconds(a_rate_plan(), rate) >= 7 * 8


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    """The option is named."""
    with pytest.raises(UsageError, match="--rate"):
        a_rate_plan(rates=(rate,))


def test_points_are_open_loops_with_names_of_their_own():
    """Poisson arrivals at the rate, and twice the batch in flight at most."""
    rigs = Rigs()
    sweep = a_rate_sweep(rigs, a_rate_plan(rates=(2.0, 2.5)))
    loads = [one.measurement.point.workload for one in sweep.taken]

    assert rigs.measured == ["fp8-b192-r2", "fp8-b192-r2.5"]
    assert [one.requests_per_s for one in sweep.taken] == [2.0, 2.5]
    assert {one.arrivals.process for one in loads} == {ArrivalProcess.POISSON}
    assert {one.concurrency for one in loads} == {384}
    assert rigs.boots == [1]


def test_the_ceiling_ends_what_holds():
    """The server keeps up with more, too slowly."""
    result = rate_result(a_rate_sweep())
    by_rate = {row.requests_per_s: row for row in result.rows}

    assert 18.75 <= result.highest <= 20
    assert result.sentence.startswith(f"Up to {result.highest:g} requests/s")
    assert "P95 stays under 7 s; at 2" in result.sentence
    assert not by_rate[24.0].held
    assert not by_rate[24.0].behind
    assert by_rate[32.0].behind


def test_without_a_ceiling_keeping_up_is_all():
    """The sentence says which of the two it is."""
    result = rate_result(a_rate_sweep(ceiling_s=None))

    assert KEEPS_UP * 15 / 16 <= result.highest <= KEEPS_UP
    assert "the server keeps up; at 26 requests/s the server does not keep up" in result.sentence


def test_a_rate_above_one_that_failed_is_no_answer():
    """All below must hold too: chance may let a higher one pass."""
    sweep = a_rate_sweep(Rigs(vetoed={8.0: (Veto(rule="backlog", message="x"),)}), a_rate_plan())
    later = a_rate_sweep(Rigs(), a_rate_plan(rates=(16.0,)), earlier=sweep)
    result = rate_result(later)

    assert max(row.requests_per_s for row in result.rows if row.held) == 16.0
    assert result.highest < 8.0


def test_rates_that_all_hold_leave_the_end_open():
    """It is said that nothing higher was offered; and that none held, where none did."""
    all_held = rate_result(a_rate_sweep(plan=a_rate_plan(rates=(2.0, 4.0))))
    none_held = rate_result(a_rate_sweep(plan=a_rate_plan(rates=(40.0,))))

    assert all_held.sentence.endswith("no higher rate was offered.")
    assert none_held.highest is None
    assert none_held.sentence.startswith("No rate that was offered holds: at 40 requests/s the")


def test_what_is_vetoed_for_another_reason_is_offered_again_later():
    """It says nothing of the rate; a backlog does, and is not repeated."""
    first = a_rate_sweep(Rigs(vetoed={4.0: BUSY}), a_rate_plan(rates=(4.0, 32.0)))
    later = Rigs()
    second = a_rate_sweep(later, a_rate_plan(rates=(4.0, 32.0)), earlier=first)

    assert [row.requests_per_s for row in rate_result(first).rows] == [32.0]
    assert later.measured == ["fp8-b192-r4-again1"]
    assert [row.requests_per_s for row in rate_result(second).rows] == [4.0, 32.0]


def test_an_interrupted_sweep_goes_on():
    """Only what is left is offered."""
    first = Rigs(interrupt_at=4.0)
    with pytest.raises(KeyboardInterrupt):
        a_rate_sweep(first)
    later = Rigs()
    a_rate_sweep(later, earlier=first.stored[-1])

    assert first.measured == ["fp8-b192-r1", "fp8-b192-r2"]
    assert later.measured[0] == "fp8-b192-r4"


def test_a_rate_that_breaks_the_load_is_kept_with_its_reason():
    """The first of all raises: then nothing can be measured."""
    sweep = a_rate_sweep(Rigs(broken={4.0}), a_rate_plan(rates=(2.0, 4.0, 8.0)))

    assert [(one.requests_per_s, one.reason) for one in sweep.failed] == [
        (4.0, "every stream was reset")
    ]
    assert len(sweep.taken) == 2
    with pytest.raises(LoadError):
        a_rate_sweep(Rigs(broken={2.0}), a_rate_plan(rates=(2.0, 4.0)))


def test_too_few_requests_for_a_p95_do_not_pass_a_ceiling():
    """A latency that is not known is not under it."""
    sweep = a_rate_sweep(plan=a_rate_plan(rates=(2.0,)))
    one = sweep.taken[0]
    latency = replace(one.measurement.latency_s, p95=None)
    short = replace(one, measurement=replace(one.measurement, latency_s=latency))
    result = rate_result(replace(sweep, taken=(short,)))

    assert result.highest is None
    assert "too few for a P95" in result.sentence
