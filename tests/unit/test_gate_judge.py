"""The verdict on one operating point."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.gate import judge, unmeasured
from perfgate.gate.verdicts import SEVERITY
from perfgate.model import Policy, Precision, Verdict, Veto
from tests.unit.factories import (
    IDENTITY,
    a_cell,
    a_claim,
    a_measurement,
    a_point,
    a_sample,
    slowed,
)

pytestmark = pytest.mark.unit

POLICY = Policy()
VETO = Veto(rule="littles-law", message="Little's law is off by 7.0 %")


def finding(judgement, check):
    """The only finding of that check."""
    (found,) = [one for one in judgement.findings if one.check == check]
    return found


def test_the_field_reports_best_point_passes():
    """A point over its floor, under its ceiling and near its baseline is a PASS."""
    judgement = judge(a_measurement(), a_cell(), POLICY)

    assert judgement.verdict is Verdict.PASS
    assert {one.verdict for one in judgement.findings} == {Verdict.PASS}


def test_a_throughput_under_the_floor_is_a_regression_told_in_full():
    """The message names point, expected, got and by how much; records stand beside it."""
    judgement = judge(a_measurement(throughput_tok_s=2871), a_cell(samples=()), POLICY)

    told = finding(judgement, "floor")
    assert judgement.verdict is Verdict.REGRESSION
    assert told.message == (
        "fp8-b192-c160: throughput 2871 tok/s is 4.3 % under the floor of 3000 tok/s."
    )
    assert "perfgate report artifacts" in told.advice
    assert judgement.records == "artifacts/records/fp8-b192-c160.jsonl.gz"


def test_the_floor_and_the_ceiling_themselves_pass():
    """A limit is the last value that passes."""
    measurement = a_measurement(throughput_tok_s=3000.0, p95_s=7.0)

    assert judge(measurement, a_cell(), POLICY).verdict is Verdict.PASS


def test_a_p95_over_the_ceiling_is_a_regression():
    """Seconds are shown as such, with the excess in percent."""
    judgement = judge(a_measurement(p50_s=7.0, p95_s=7.35), a_cell(samples=()), POLICY)

    assert finding(judgement, "ceiling").message == (
        "fp8-b192-c160: P95 latency 7.35 s is 5.0 % over the ceiling of 7 s."
    )
    assert judgement.verdict is Verdict.REGRESSION


def test_too_few_requests_for_a_p95_are_inconclusive_and_say_how_many_are_needed():
    """Without a P95 neither ceiling nor stability is judged, nor passed."""
    judgement = judge(a_measurement(p95_s=None, requests=40), a_cell(), POLICY)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    told = finding(judgement, "requests")
    assert "40 requests" in told.message
    assert told.got == 40
    assert str(int(told.expected)) in told.message
    assert {"ceiling", "stability"}.isdisjoint(one.check for one in judgement.findings)


def test_a_short_run_that_is_too_slow_is_still_a_regression():
    """A missing P95 does not hide a throughput under its floor."""
    measurement = a_measurement(p95_s=None, requests=40, throughput_tok_s=2000)

    assert judge(measurement, a_cell(), POLICY).verdict is Verdict.REGRESSION


def test_a_p95_far_above_the_median_is_unstable():
    """P95/P50 over the policy's limit is UNSTABLE although floor and ceiling hold."""
    judgement = judge(a_measurement(p50_s=6.0, p95_s=6.9), a_cell(), POLICY)

    assert judgement.verdict is Verdict.UNSTABLE
    assert "1.150 is 4.5 % over the limit of 1.1." in finding(judgement, "stability").message


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.04, Verdict.PASS), (1.06, Verdict.REGRESSION), (1 / 1.06, Verdict.IMPROVEMENT)],
    ids=["within-margin", "slower", "faster"],
)
def test_the_baseline_decides_beyond_the_margin_only(factor, verdict):
    """Five percent around the median of the recorded runs are a PASS."""
    cell = a_cell(floor_tok_s=None, ceiling_p95_s=None)

    assert judge(slowed(a_measurement(), factor), cell, POLICY).verdict is verdict


def test_the_baseline_message_names_the_runs_and_the_margin():
    """A reader sees what the number was compared with."""
    samples = (a_sample(3100), a_sample(3030), a_sample(2000))
    judgement = judge(a_measurement(throughput_tok_s=2800), a_cell(samples=samples), POLICY)

    told = [one for one in judgement.findings if one.metric == "throughput_tok_s"][-1]
    assert told.message == (
        "fp8-b192-c160: throughput 2800 tok/s is 7.6 % under the baseline of 3030 tok/s "
        "(median of 3 runs), margin 5.0 %."
    )
    assert (told.expected, told.got, told.margin) == (3030, 2800, 0.05)


def test_a_floor_without_recorded_runs_decides_and_says_what_was_not_compared():
    """Claims alone can pass a point; the finding tells that no earlier run was compared."""
    judgement = judge(a_measurement(), a_cell(samples=(), identity={}), POLICY)

    told = finding(judgement, "baseline")
    assert judgement.verdict is Verdict.PASS
    assert "not compared with earlier runs" in told.message
    assert "perfgate baseline record artifacts" in told.advice


@pytest.mark.parametrize(
    "cell", [None, a_cell(None, None, samples=())], ids=["no-cell", "empty-cell"]
)
def test_a_point_nothing_is_known_of_is_invalid_with_advice(cell):
    """A missing or empty cell is never a pass."""
    judgement = judge(a_measurement(), cell, POLICY)

    assert judgement.verdict is Verdict.INVALID
    assert "perfgate baseline record artifacts" in finding(judgement, "baseline").advice


def test_a_point_without_a_cell_that_misses_its_claim_is_a_regression():
    """FP8 that became FP16 has no cell in the FP16 file; its own floor and ceiling still speak."""
    planted = a_point(precision=Precision.FP16, claim=a_claim())
    measurement = a_measurement(planted, throughput_tok_s=1860, p50_s=11.0, p95_s=11.2)
    judgement = judge(measurement, None, POLICY)

    assert judgement.verdict is Verdict.REGRESSION
    assert finding(judgement, "floor").verdict is Verdict.REGRESSION
    assert finding(judgement, "ceiling").verdict is Verdict.REGRESSION
    assert "no baseline cell" in finding(judgement, "baseline").message


def test_a_point_without_a_cell_that_meets_its_claim_stays_invalid():
    """A claim cannot stand in for a baseline: missing is never a pass."""
    judgement = judge(a_measurement(a_point(claim=a_claim())), None, POLICY)

    assert judgement.verdict is Verdict.INVALID
    assert [one.check for one in judgement.findings] == ["baseline"]


def test_a_claim_of_other_hardware_says_nothing():
    """What a GB10 reaches is no floor for another GPU."""
    point = a_point(claim=replace(a_claim(), hardware="h100"))
    judgement = judge(a_measurement(point, throughput_tok_s=1), None, POLICY)

    assert judgement.verdict is Verdict.INVALID


def test_a_vetoed_point_without_a_cell_is_not_held_against_its_claim():
    """A number that may not be trusted proves no loss."""
    point = a_point(claim=a_claim())
    judgement = judge(a_measurement(point, throughput_tok_s=1, vetoes=(VETO,)), None, POLICY)

    assert judgement.verdict is Verdict.INVALID


def test_other_conditions_leave_the_claim_unheard():
    """Another load, driver or clock is no loss of the candidate's."""
    cell = a_cell(identity=IDENTITY | {"driver": "580.1"})
    slow = a_measurement(a_point(claim=a_claim()), throughput_tok_s=1)

    assert judge(slow, cell, POLICY).verdict is Verdict.INVALID


def test_other_conditions_are_invalid_and_named_field_by_field():
    """Each differing field is shown with both values; nothing else is judged."""
    cell = a_cell(identity=IDENTITY | {"concurrency": "128", "driver": "580.1"})
    judgement = judge(a_measurement(throughput_tok_s=1), cell, POLICY)

    assert judgement.verdict is Verdict.INVALID
    (told,) = judgement.findings
    assert "concurrency is 160 instead of 128" in told.message
    assert "driver is (absent) instead of 580.1" in told.message
    assert "hardware" not in told.message


@given(
    throughput=st.floats(1, 1e5),
    p50=st.floats(0.01, 100),
    p95=st.none() | st.floats(0.01, 100),
    cell=st.sampled_from([None, a_cell(), a_cell(samples=()), a_cell(None, None)]),
)
def test_a_veto_always_wins(throughput, p50, p95, cell):
    """Whatever the numbers say, a vetoed measurement is INVALID and not judged further."""
    measurement = a_measurement(throughput_tok_s=throughput, p50_s=p50, p95_s=p95, vetoes=(VETO,))
    judgement = judge(measurement, cell, POLICY)

    assert judgement.verdict is Verdict.INVALID
    assert [one.check for one in judgement.findings] == ["veto littles-law"]
    assert VETO.message in judgement.findings[0].message


@given(
    fast=st.builds(
        lambda throughput, p50, spread: a_measurement(
            throughput_tok_s=throughput, p50_s=p50, p95_s=p50 * spread
        ),
        st.floats(100, 1e4),
        st.floats(0.1, 20),
        st.sampled_from([1.0, 1.09, 1.11, 1.3]),  # off the limit, where rounding decides
    ),
    factor=st.floats(1, 3),
    cell=st.builds(
        a_cell,
        st.none() | st.floats(100, 1e4),
        st.none() | st.floats(0.1, 20),
        st.sampled_from([(), (a_sample(),), (a_sample(), a_sample(2500, 8.0))]),
    ),
)
def test_a_slower_measurement_never_gets_a_better_verdict(fast, factor, cell):
    """The gate is monotone: making everything slower cannot help."""
    before = judge(fast, cell, POLICY).verdict
    after = judge(slowed(fast, factor), cell, POLICY).verdict

    # IMPROVEMENT is rarer than PASS, not worse: here better means faster.
    goodness = [*SEVERITY[:4], Verdict.PASS, Verdict.IMPROVEMENT]
    assert goodness.index(after) <= goodness.index(before)


@given(order=st.permutations([a_sample(3100, 6.0), a_sample(2900, 7.0), a_sample(2500, 8.0)]))
def test_the_order_of_recorded_runs_is_irrelevant(order):
    """The same runs in another order give the same judgement."""
    measurement = a_measurement()
    expected = judge(measurement, a_cell(samples=tuple(sorted(order, key=str))), POLICY)

    assert judge(measurement, a_cell(samples=tuple(order)), POLICY) == expected


def test_an_unmeasured_point_is_invalid_with_its_reason():
    """What could not be measured is never a pass."""
    judgement = unmeasured("fp8-b192-c160", "Triton died")

    assert judgement.verdict is Verdict.INVALID
    assert "Triton died" in judgement.findings[0].message
