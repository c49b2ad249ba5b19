"""Two measurements against each other: the phase that changed is named, with its part."""

from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.measure.explain import explain_change, explain_runs
from perfgate.model import Attribution, Phase
from perfgate.report.explanation import explanation_lines
from tests.unit.factories import a_fingerprint, a_measurement, a_point

pytestmark = pytest.mark.unit

BEFORE = {
    Phase.CLIENT: 0.001,
    Phase.WAY_IN: 0.005,
    Phase.QUEUE: 0.044,
    Phase.PREFILL: 0.050,
    Phase.DECODE: 6.35,
    Phase.POSTPROCESSING: 0.003,
    Phase.WAY_BACK: 0.002,
}


def a_timed(phases, *, note="", **changes):
    """A measurement whose latency is the sum of these phases, 127 decode steps a request."""
    latency = sum(phases.values())
    one = a_measurement(p50_s=latency, p95_s=latency, throughput_tok_s=160 * 128 / latency)
    told = Attribution(
        requests=320, latency_s=latency, decode_steps=127, phases_s=phases, note=note
    )
    return replace(one, attribution=told, **changes)


def test_the_whole_loss_is_laid_at_one_phase():
    """Only decode slowed down: it is named by its step, with all of the loss."""
    slower = BEFORE | {Phase.DECODE: BEFORE[Phase.DECODE] * 1.051}
    explanation = explain_change(a_timed(BEFORE), a_timed(slower))
    lines = explanation_lines(explanation)

    assert explanation.changes[0].phase is Phase.DECODE
    assert explanation.changes[0].share == pytest.approx(1.0)
    assert lines[1:] == ("  decode step 50.0 ms -> 52.5 ms (+5.1 %): all of the loss",)


def test_parts_add_up_and_the_heaviest_comes_first():
    """Shares sum to one; what worked against the loss is taken off it."""
    mixed = BEFORE | {Phase.DECODE: 6.85, Phase.QUEUE: 0.344, Phase.PREFILL: 0.010}
    explanation = explain_change(a_timed(BEFORE), a_timed(mixed))

    assert sum(change.share for change in explanation.changes) == pytest.approx(1.0)
    assert [change.phase for change in explanation.changes[:2]] == [Phase.DECODE, Phase.QUEUE]
    more = BEFORE | {Phase.DECODE: 6.85, Phase.PREFILL: 0.010}
    told = "\n".join(explanation_lines(explain_change(a_timed(BEFORE), a_timed(more))))
    assert "prefill 50.0 ms -> 10.0 ms (-80.0 %): takes 8.7 % off the loss" in told


def test_a_gain_is_explained_too():
    """Getting faster is a gain, of latency down and throughput up."""
    faster = BEFORE | {Phase.DECODE: 5.0}
    headline, cause = explanation_lines(explain_change(a_timed(BEFORE), a_timed(faster)))

    assert "request latency 6.45 s -> 5.10 s (-20.9 %)" in headline
    assert "tok/s (+26.4 %)" in headline
    assert cause.endswith("all of the gain")


def test_under_one_percent_there_is_nothing_to_explain():
    """Noise is not laid at anybody's door."""
    noise = BEFORE | {Phase.QUEUE: 0.060}

    assert explanation_lines(explain_change(a_timed(BEFORE), a_timed(noise)))[1:] == (
        "  no change to explain",
    )


def test_phases_that_one_side_cannot_tell_apart_are_put_together():
    """Postprocessing joins the way back, or all ways the network, as the other side has it."""
    joined = {**BEFORE, Phase.WAY_BACK: 1.005}
    del joined[Phase.POSTPROCESSING]
    changes = explain_change(a_timed(BEFORE), a_timed(joined)).changes
    assert changes[0].phase is Phase.WAY_BACK
    assert (changes[0].before_s, changes[0].after_s) == (pytest.approx(0.005), 1.005)

    apart = {
        phase: BEFORE[phase] for phase in (Phase.CLIENT, Phase.QUEUE, Phase.PREFILL, Phase.DECODE)
    } | {Phase.NETWORK: 1.010}
    changes = explain_change(a_timed(apart), a_timed(BEFORE)).changes
    assert changes[0].phase is Phase.NETWORK
    assert (changes[0].before_s, changes[0].after_s) == (1.010, pytest.approx(0.010))


@pytest.mark.parametrize(
    ("attribution", "reason"),
    [
        (None, "it was measured without"),
        (Attribution(requests=0, latency_s=6.4, decode_steps=127, note="no stamps"), "no stamps"),
    ],
)
def test_what_cannot_be_told_is_said(attribution, reason):
    """Without phases the change is still shown, with the reason why it is not explained."""
    silent = replace(a_timed(BEFORE), attribution=attribution)
    headline, cause = explanation_lines(explain_change(a_timed(BEFORE), silent))

    assert "request latency" in headline
    assert cause == f"  where the time went cannot be told: after: {reason}"


def test_what_else_differs_is_listed():
    """A version that changed stands beside the change it may have caused."""
    old, new = a_fingerprint(), a_fingerprint()
    lines = explanation_lines(
        explain_change(
            a_timed(BEFORE, fingerprint=replace(old, context={"version.tritonclient": "2.60"})),
            a_timed(BEFORE, fingerprint=replace(new, context={"version.tritonclient": "2.73"})),
        )
    )

    assert lines[-1] == "  differs: version.tritonclient 2.60 -> 2.73"


def test_simulated_runs_explain_no_hardware():
    """Unlike things are refused."""
    with pytest.raises(UsageError, match="gb10-sim"):
        explain_change(a_timed(BEFORE), a_timed(BEFORE, fingerprint=a_fingerprint("gb10")))


def test_runs_are_matched_by_point():
    """Points of one run only are left out; none in common is a mistake."""
    other = a_timed(BEFORE, point=a_point("other"))
    both = explain_runs([a_timed(BEFORE)], [other, a_timed(BEFORE)])

    assert [one.after.point.id for one in both] == ["fp8-b192-c160"]
    with pytest.raises(UsageError, match="other ones: fp8-b192-c160"):
        explain_runs([a_timed(BEFORE)], [other])
