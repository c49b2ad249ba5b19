"""Two points of one run, held against each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.gate import judge_comparison, judge_equal, judge_speedup, judge_starved
from perfgate.gate.metrics import LATENCY_P95, TPOT_P50
from perfgate.model import Comparison, ComparisonKind, Policy, Precision, Verdict, Veto
from tests.unit.factories import a_measurement, a_point

pytestmark = pytest.mark.unit

POLICY = Policy()
FP8 = a_point("fp8-b16-c16", max_batch_size=16, concurrency=16)
FP16 = a_point("fp16-b16-c16", max_batch_size=16, concurrency=16, precision=Precision.FP16)
STARVED = a_point("fp8-b64-c160", max_batch_size=64)


def starved(**changes):
    """Two and a half batches of 64 waiting for one another: 60 % of the latency is queueing."""
    return a_measurement(
        STARVED, **{"throughput_tok_s": 1500, "p50_s": 13.6, "p95_s": 14, "ttft_s": 8.3} | changes
    )


def test_a_sufficient_speedup_passes_and_shows_both_numbers():
    """FP8 over FP16 is a ratio of throughputs at the same load."""
    judgement = judge_speedup(
        a_measurement(FP8, throughput_tok_s=512), a_measurement(FP16, throughput_tok_s=300), 1.6
    )

    assert judgement.verdict is Verdict.PASS
    assert judgement.point == "fp8-b16-c16-vs-fp16-b16-c16"
    assert judgement.findings[0].message == (
        "fp8-b16-c16 has 1.707 times the throughput of fp16-b16-c16 (512 tok/s over 300 tok/s), "
        "6.7 % over the 1.6 expected."
    )
    assert judgement.records == (
        "artifacts/records/fp8-b16-c16.jsonl.gz, artifacts/records/fp16-b16-c16.jsonl.gz"
    )


def test_a_missing_speedup_is_a_regression():
    """An FP8 engine that runs FP16 kernels is caught here."""
    judgement = judge_speedup(
        a_measurement(FP8, throughput_tok_s=310), a_measurement(FP16, throughput_tok_s=300), 1.6
    )

    assert judgement.verdict is Verdict.REGRESSION
    assert "35.4 % under the 1.6 expected" in judgement.findings[0].message


@given(st.floats(0.5, 2), st.floats(1, 2))
def test_a_faster_subject_never_loses_its_speedup(ratio, more):
    """The speedup is monotone in the subject's throughput."""
    slow = a_measurement(FP16, throughput_tok_s=300)
    before, after = (
        judge_speedup(a_measurement(FP8, throughput_tok_s=300 * r), slow, 1.6).verdict
        for r in (ratio, ratio * more)
    )

    assert (before, after) != (Verdict.PASS, Verdict.REGRESSION)


@pytest.mark.parametrize(
    ("tpot_s", "verdict"),
    [
        (0.0509, Verdict.PASS),
        (0.0491, Verdict.PASS),
        (0.0511, Verdict.REGRESSION),
        (0.0489, Verdict.INVALID),
    ],
)
def test_equal_means_within_the_margin_either_way(tpot_s, verdict):
    """Slower is a regression; faster where nothing may differ means that the pair is no pair."""
    judgement = judge_equal(
        a_measurement(FP8, tpot_s=tpot_s), a_measurement(FP16, tpot_s=0.05), TPOT_P50, 0.02
    )

    assert judgement.verdict is verdict
    assert "that of fp16-b16-c16, 50 ms; they should agree within 2.0 %." in (
        judgement.findings[0].message
    )


def test_equal_says_what_prefill_gained():
    """The first token may differ: that is told and never judged."""
    judgement = judge_equal(
        a_measurement(FP8, ttft_s=0.3), a_measurement(FP16, ttft_s=0.4), TPOT_P50, 0.02
    )

    told = judgement.findings[1]
    assert (told.check, told.verdict) == ("prefill", Verdict.PASS)
    assert "median TTFT 0.3 s is 25.0 % under that of fp16-b16-c16, 0.4 s" in told.message


@pytest.mark.parametrize("metric", [LATENCY_P95, TPOT_P50])
def test_equal_is_inconclusive_about_a_number_that_was_not_measured(metric):
    """A missing number is neither equal nor zero."""
    short = replace(a_measurement(FP8, p95_s=None, requests=20), tpot_s=None)

    judgement = judge_equal(short, a_measurement(FP16), metric, 0.02)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert f"20 requests of 128 tokens hold no {metric.title}" in judgement.findings[0].message


def test_a_starved_batch_is_shown_by_its_cap_and_its_queue():
    """64 slots for 160 requests: throughput is capped and most of the latency is waiting."""
    judgement = judge_starved(starved(), a_measurement(), POLICY)

    assert judgement.verdict is Verdict.PASS
    assert [one.check for one in judgement.findings] == ["capped", "queued"]


def test_a_large_batch_that_gains_nothing_is_a_regression():
    """If 192 slots serve no more than 64, the larger batch has lost its point."""
    judgement = judge_starved(starved(), a_measurement(throughput_tok_s=1510), POLICY)

    assert judgement.verdict is Verdict.REGRESSION


def test_a_small_batch_without_a_queue_is_invalid():
    """An engine that runs more than its max_batch_size is not the engine it claims to be."""
    judgement = judge_starved(starved(ttft_s=0.4), a_measurement(), POLICY)

    assert judgement.verdict is Verdict.INVALID
    assert "64 slots for 160 requests" in judgement.findings[1].message


def test_a_veto_on_either_side_wins_before_anything_is_divided():
    """A measurement of nothing is INVALID, not a ZeroDivisionError."""
    veto = Veto(rule="errors", message="Triton died")
    dead = replace(a_measurement(FP16, vetoes=(veto,)), throughput_tok_s=0.0)
    fine = a_measurement(FP8)

    assert judge_speedup(fine, dead, 1.6).verdict is Verdict.INVALID
    assert judge_speedup(dead, fine, 1.6).verdict is Verdict.INVALID


def test_points_under_different_loads_are_not_compared():
    """A speedup at another concurrency says nothing."""
    judgement = judge_speedup(a_measurement(FP8), a_measurement(STARVED), 1.6)

    assert judgement.verdict is Verdict.INVALID
    assert judgement.findings[0].message == (
        "fp8-b16-c16 and fp8-b64-c160 are not comparable: concurrency 16, ISL 128, OSL 128, seed 0 "
        "against concurrency 160, ISL 128, OSL 128, seed 0."
    )


def test_points_measured_on_unlike_machines_are_not_compared():
    """Two workers, two GPUs: each field that differs is named with both values."""
    fast, slow = a_measurement(FP8), a_measurement(FP16)
    identity = slow.fingerprint.identity
    one = replace(fast, fingerprint=replace(fast.fingerprint, identity=identity))
    other = replace(
        slow, fingerprint=replace(slow.fingerprint, identity=identity | {"driver": "580.1"})
    )

    assert judge_speedup(one, replace(other, fingerprint=one.fingerprint), 1.6).findings[
        0
    ].check == ("speedup")
    (told,) = judge_speedup(one, other, 1.6).findings
    assert told.verdict is Verdict.INVALID
    assert "driver is (absent) instead of 580.1" in told.message
    assert "hardware" not in told.message


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (ComparisonKind.SPEEDUP, "speedup"),
        (ComparisonKind.EQUAL_TPOT, "equal"),
        (ComparisonKind.STARVED, "capped"),
    ],
)
def test_each_kind_of_comparison_asks_its_own_question(kind, check):
    """points.toml names the kind; the judgement bears the comparison's id."""
    pair = {"fp8-b64-c160": starved(), "fp8-b192-c160": a_measurement()}
    asked = Comparison(id="asked", kind=kind, point="fp8-b64-c160", against="fp8-b192-c160")

    judgement = judge_comparison(asked, pair, POLICY)

    assert judgement.point == "asked"
    assert judgement.findings[0].check == check


def test_a_comparison_without_its_points_is_invalid():
    """A question that was asked and cannot be answered is not a pass."""
    asked = Comparison(id="asked", kind=ComparisonKind.SPEEDUP, point="a", against="b")

    judgement = judge_comparison(asked, {"a": a_measurement()}, POLICY)

    assert judgement.verdict is Verdict.INVALID
    assert "b was not measured" in judgement.findings[0].message
