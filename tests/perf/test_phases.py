"""Prefill and decode, measured apart."""

import pytest

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("point", ["fp8-prefill"], indirect=True)
def test_prefill_alone_is_one_token(measurement):
    """A request for one token is all prefill: its latency is its time to first token."""
    assert measurement.output_tokens == measurement.requests
    assert measurement.latency_s.p50 == pytest.approx(measurement.ttft_s.p50, rel=0.05)


@pytest.mark.parametrize("point", ["fp8-decode"], indirect=True)
def test_decode_alone_is_nearly_all_of_the_request(measurement):
    """With a prompt of a few tokens, decoding takes nearly all of the latency."""
    decode_s = measurement.tpot_s.mean * (measurement.point.workload.osl - 1)

    assert decode_s / measurement.latency_s.mean > 0.95


@pytest.mark.parametrize("answer", ["fmha-leaves-decode"], indirect=True)
def test_context_fmha_leaves_decode_alone(answer, require):
    """Context FMHA changes prefill only: TPOT is the same with and without."""
    require(answer, "equal")


@pytest.mark.parametrize(
    "point",
    [
        "fp16-b16-c16",
        "fp8-b16-c16",
        "fp8-prefill",
        "fp8-decode",
        "fp8-b64-c64",
        "fp8-b192-c128",
        "fp8-b192-c160",
    ],
    indirect=True,
)
def test_no_phase_is_slower_than_its_baseline(judgement, require):
    """Prefill and the decode step each hold their own recorded runs, whatever the other gained."""
    require(judgement, "phases")
