"""A whole run turned into its measurement."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.measure.measure import drift_notes, measure
from perfgate.measure.window import Window
from perfgate.model import Policy, Sampling
from tests.unit.factories import a_load_run, a_point, a_record, a_steady_run, in_slow_motion
from tests.unit.run_strategies import loops, play

pytestmark = pytest.mark.unit

POLICY = Policy()


def test_a_steady_run_measures_as_it_was_made():
    """Four clients, 50 ms a token: 80 tokens/s, latency 50 ms x length, no veto, no note."""
    point = a_point(concurrency=4, sampling=Sampling(rounds=4, round_requests=20))
    measurement = measure(a_steady_run(point), POLICY, records="somewhere")

    assert measurement.throughput_tok_s == pytest.approx(80, rel=0.01)
    assert measurement.latency_s.p50 == pytest.approx(6.4)
    assert measurement.tpot_s.p50 == pytest.approx(0.05)
    assert measurement.mean_in_flight == pytest.approx(4, rel=0.01)
    assert (measurement.requests, measurement.vetoes, measurement.notes) == (80, (), ())
    assert measurement.records == "somewhere"


def test_single_tokens_leave_the_gaps_out():
    """With an output length of one there is a TTFT, and no ITL or TPOT."""
    measurement = measure(play([50], osl=1), POLICY)

    assert measurement.ttft_s.p50 == pytest.approx(0.05)
    assert measurement.itl_s is None
    assert measurement.tpot_s is None


@given(loops(), st.randoms(use_true_random=False))
def test_the_order_of_records_is_irrelevant(run, rng: random.Random):
    """A shuffled run measures the same."""
    records = list(run.records)
    rng.shuffle(records)
    shuffled, straight = measure(replace(run, records=tuple(records)), POLICY), measure(run, POLICY)

    assert shuffled.throughput_tok_s == straight.throughput_tok_s
    assert shuffled.latency_s.p50 == straight.latency_s.p50
    assert shuffled.itl_s.maximum == straight.itl_s.maximum


@given(loops(), st.integers(2, 50))
def test_a_run_slowed_by_a_factor_measures_slower_by_it(run, factor):
    """Stretching time by k multiplies times by k and divides rates by k."""
    slow, fast = measure(in_slow_motion(run, factor), POLICY), measure(run, POLICY)

    assert slow.throughput_tok_s * factor == pytest.approx(fast.throughput_tok_s)
    assert slow.latency_s.p50 == pytest.approx(fast.latency_s.p50 * factor)
    assert slow.itl_s.mean == pytest.approx(fast.itl_s.mean * factor)
    assert slow.mean_in_flight == pytest.approx(fast.mean_in_flight)


@given(loops())
def test_a_closed_loop_is_always_full(run):
    """Clients that send again at once keep exactly `concurrency` requests in flight."""
    assert measure(run, POLICY).mean_in_flight == pytest.approx(4)


@given(loops())
def test_round_throughputs_average_to_the_whole(run):
    """Weighted by their lengths, the rounds' throughputs give the window's."""
    measurement = measure(run, POLICY)
    lengths = [after - before for before, after in pairwise(run.marks_ns)]
    weighted = zip(measurement.round_tok_s, lengths, strict=True)

    assert sum(rate * length for rate, length in weighted) / sum(lengths) == pytest.approx(
        measurement.throughput_tok_s
    )


def test_a_drift_between_the_halves_is_noted():
    """Ten tokens in the first half and five in the second is a drift of -50 %."""
    records = tuple(
        a_record(i, sent_ns=i, ttft_ns=0, gap_ns=0, tokens=1)
        for i in (*range(100, 200, 10), *range(210, 310, 20))
    )
    run = a_load_run(records, marks_ns=(99, 199, 299))

    assert drift_notes(Window(run.marks_ns, run.records)) == (
        "throughput drifted by -50.0% from the first half of the rounds to the second",
    )


def test_the_middle_of_three_rounds_belongs_to_neither_half():
    """Only the outer rounds are compared: a slow middle is no drift."""
    ends = [*range(110, 201, 10), 250, *range(310, 401, 10)]
    records = tuple(a_record(i, sent_ns=i, ttft_ns=0, tokens=1) for i in ends)

    assert drift_notes(Window((100, 200, 300, 400), records)) == ()


def test_one_round_has_no_halves():
    """A single round cannot drift."""
    assert drift_notes(Window((0, 100), (a_record(),))) == ()
