"""The cost model does what its formula says."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.model import Precision
from perfgate.sim.cost import cost_model
from perfgate.sim.scheduler import ContextChunk, Step
from tests.unit.sim_samples import a_profile, an_engine, gb10

pytestmark = pytest.mark.unit

LENGTHS = st.lists(st.integers(1, 4000), max_size=200).map(tuple)
PROMPTS = st.integers(1, 4000)


def a_step(*, prompts=(), generation=(), past=0):
    """An iteration with these contexts and generation lengths."""
    chunks = [ContextChunk(request_id=i, tokens=n, past=past) for i, n in enumerate(prompts)]
    return Step(iteration=1, context=tuple(chunks), generation=tuple(generation))


def seconds(step, profile=None, **engine):
    """Cost of one iteration."""
    return cost_model(profile or a_profile(), an_engine(**engine)).step_seconds(step)


def test_a_small_step_is_weights_cache_and_overhead():
    """At small batch: weights and cache over the bandwidth, plus the overhead."""
    # Toy model: 60,000 layer weights at 1 byte, 100,000 head weights at 2; 100 B of KV a token.
    expected = (60_000 + 200_000 + 30 * 100) / 1e9 + 0.001

    assert seconds(a_step(generation=(10, 20))) == pytest.approx(expected)


def test_a_large_context_is_bound_by_compute():
    """A long prompt costs 2 x parameters x tokens, and its causal attention."""
    gemm = 2 * 160_000 * 4000 / 2e12
    attention = 4 * 100 * (4000 * 4001 / 2) / 2e12

    assert seconds(a_step(prompts=(4000,))) == pytest.approx(gemm + attention + 0.001)


def test_a_chunk_reads_what_is_cached_before_it():
    """A later chunk pays for the cached tokens it attends to."""
    more = seconds(a_step(prompts=(8,), past=400)) - seconds(a_step(prompts=(8,)))

    assert more == pytest.approx(400 * 100 / 1e9 + 4 * 100 * 8 * 400 / 2e12)


@given(LENGTHS, PROMPTS)
def test_fmha_matters_to_contexts_only(generation, prompt):
    """Without context FMHA prefill is slower, and decode exactly as fast."""
    context, decode = a_step(prompts=(prompt,)), a_step(generation=generation)

    assert seconds(context, gb10(), context_fmha=False) > seconds(context, gb10())
    assert seconds(decode, gb10(), context_fmha=False) == seconds(decode, gb10())


def test_without_fmha_the_score_matrix_goes_through_memory():
    """It costs 8 bytes for each score of each head, and the half that causality would spare."""
    prompt = 4000
    context = a_step(prompts=(prompt,))
    scores = 8 * 10 * prompt**2 / 1e9
    spared = 4 * 100 * (prompt**2 - prompt * (prompt + 1) / 2) / 2e12

    saved = seconds(context, context_fmha=False) - seconds(context)
    assert saved == pytest.approx(scores + spared)


@given(LENGTHS, st.lists(PROMPTS, max_size=3), st.sampled_from(Precision))
def test_more_work_never_takes_less_time(generation, prompts, precision):
    """Another request or a longer cache never makes a step faster."""
    step = a_step(prompts=prompts, generation=generation)
    joined = a_step(prompts=prompts, generation=(*generation, 1))
    longer = a_step(prompts=prompts, generation=[n + 1 for n in generation])

    before = seconds(step, gb10(), precision=precision)
    assert seconds(joined, gb10(), precision=precision) > before
    assert seconds(longer, gb10(), precision=precision) >= before


@given(LENGTHS, st.lists(PROMPTS, max_size=3), st.sampled_from(Precision))
def test_no_step_beats_the_memory(generation, prompts, precision):
    """A step reads all weights and the cache, and the bandwidth is never above its peak."""
    profile = gb10()
    model = profile.simulation.model
    read = model.weight_bytes(precision) + sum(generation) * model.kv_bytes_per_token(precision)

    step = a_step(prompts=prompts, generation=generation)
    assert seconds(step, profile, precision=precision) > read / profile.bandwidth_bytes_per_s


def test_the_planted_slowdown_scales_every_step():
    """`step_time_factor` is a factor on the whole step."""
    slow = a_profile(step_time_factor=1.05)
    step = a_step(prompts=(30,), generation=(5, 6))

    assert seconds(step, slow) == pytest.approx(1.05 * seconds(step))


def test_batching_costs_less_than_its_tokens():
    """The weights are read once: 64 requests a step are far cheaper than 64 steps."""
    one, many = a_step(generation=(128,)), a_step(generation=(128,) * 64)

    assert seconds(many, gb10()) < 2 * seconds(one, gb10())


def test_fp16_knows_no_fp8_loss():
    """The FP8 kernels' loss of bandwidth leaves FP16 alone."""
    profile = gb10()
    parameters = profile.simulation.parameters
    loss = dataclasses.replace(parameters.fp8_bandwidth_loss, value=0.0)
    perfect = dataclasses.replace(
        profile,
        simulation=dataclasses.replace(
            profile.simulation,
            parameters=dataclasses.replace(parameters, fp8_bandwidth_loss=loss),
        ),
    )
    step = a_step(generation=(128,) * 16)

    assert seconds(step, perfect, precision=Precision.FP16) == seconds(
        step, profile, precision=Precision.FP16
    )
    assert seconds(step, perfect) < seconds(step, profile)
