"""Prefill and decode are judged apart: neither hides what the other lost."""

from dataclasses import replace

import pytest

from perfgate.baselines import empty, record
from perfgate.gate import judge
from perfgate.gate.phases import phases
from perfgate.model import Attribution, Phase, Policy, Precision, Verdict
from tests.unit.factories import a_cell, a_claim, a_measurement, a_point, a_sample

pytestmark = pytest.mark.unit

POLICY = Policy()
PREFILL_S, STEP_S, STEPS = 0.10, 0.050, 127.0


def a_timed(prefill=1.0, step=1.0, **changes):
    """The usual measurement with its phases, each times a factor."""
    decode_s = STEP_S * step * STEPS
    told = {Phase.QUEUE: 0.05, Phase.PREFILL: PREFILL_S * prefill, Phase.DECODE: decode_s}
    attribution = Attribution(
        requests=320, latency_s=sum(told.values()), decode_steps=STEPS, phases_s=told
    )
    return replace(a_measurement(**changes), attribution=attribution)


def a_known(**changes):
    """A cell whose runs kept their phases."""
    return a_cell(samples=(a_sample(prefill_s=PREFILL_S, decode_step_s=STEP_S, **changes),))


def found(measurement, cell=None):
    """The findings on phases by metric."""
    return {one.metric: one for one in phases(measurement, cell or a_known(), POLICY)}


def test_a_decode_loss_behind_a_prefill_gain_is_caught():
    """Throughput and P95 hold, as prefill gained what decode lost; the decode step does not."""
    measurement = a_timed(prefill=0.1, step=1.05)
    judged = judge(measurement, a_known(), POLICY)

    others = {one.verdict for one in judged.findings if one.check != "phases"}
    assert others == {Verdict.PASS}
    assert judged.verdict is Verdict.REGRESSION
    (lost,) = [one for one in judged.findings if one.verdict is Verdict.REGRESSION]
    assert (lost.check, lost.metric) == ("phases", "decode_step_s")
    assert lost.message == (
        "fp8-b192-c160: decode step 52.5 ms is 5.0 % over the baseline of 50 ms (median of 1 run),"
        " margin 3.0 %; 100.0 % of what the phases lost."
    )


def test_a_prefill_loss_behind_a_decode_gain_is_caught():
    """Prefill is a small part of the request: no other check would see it double."""
    assert found(a_timed(prefill=2.0, step=0.97))["prefill_s"].verdict is Verdict.REGRESSION


@pytest.mark.parametrize(
    ("metric", "factors", "verdict"),
    [
        ("decode_step_s", {"step": 1.029}, Verdict.PASS),
        ("decode_step_s", {"step": 1.031}, Verdict.REGRESSION),
        ("prefill_s", {"prefill": 1.09}, Verdict.PASS),
        ("prefill_s", {"prefill": 1.11}, Verdict.REGRESSION),
        ("prefill_s", {"prefill": 0.5}, Verdict.PASS),
    ],
)
def test_each_phase_has_a_margin_of_its_own(metric, factors, verdict):
    """The policy's margins are the last values that pass; a gain alone is no verdict."""
    assert found(a_timed(**factors))[metric].verdict is verdict


def test_two_losses_share_what_was_lost():
    """Prefill lost 100 ms a request, decode 635: shares add up to all of it."""
    told = found(a_timed(prefill=2.0, step=1.1))

    assert "13.6 % of what the phases lost" in told["prefill_s"].message
    assert "86.4 % of what the phases lost" in told["decode_step_s"].message


def test_runs_recorded_without_phases_are_told_and_hold():
    """An older baseline judges what it knows; what it lacks is said, with the cure."""
    (told,) = phases(a_timed(step=2.0), a_cell(), POLICY)

    assert told.verdict is Verdict.PASS
    assert "no recorded run kept them" in told.message
    assert "baseline record" in told.advice


def test_a_run_that_no_longer_tells_its_phases_is_no_pass():
    """A server that stopped timing its requests could hide anything."""
    judged = judge(a_measurement(), a_known(), POLICY)

    assert judged.verdict is Verdict.INCONCLUSIVE
    assert found(a_measurement())["decode_step_s"].got is None


def test_a_request_of_one_token_has_no_decode_step():
    """Its baseline keeps prefill alone, and prefill alone is judged."""
    cell = a_cell(samples=(a_sample(prefill_s=PREFILL_S),))

    assert set(found(a_timed(), cell)) == {"prefill_s"}


def test_recording_keeps_the_phases_of_a_run():
    """What is judged is what was recorded, to six digits."""
    point = a_point(claim=a_claim())
    baseline = record(
        empty("gb10-sim", "llm-7b", Precision.FP8),
        [point],
        [replace(a_timed(), point=point)],
        policy=POLICY,
        session="s",
        commit="c",
    )
    (sample,) = baseline.cells[point.id].samples

    assert sample.prefill_s == pytest.approx(PREFILL_S)
    assert sample.decode_step_s == pytest.approx(STEP_S)
