"""What the hardware allows under a ceiling: a bound that no schedule passes, and its parts."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.explore import limits as limits_module
from perfgate.explore.limits import decompose, limits
from perfgate.explore.run import _virtual
from perfgate.explore.trials import climb, fastest
from perfgate.sim.cost import cost_model
from perfgate.sim.fit import schedule
from perfgate.sim.steps import ContextChunk, Step
from tests.unit.explore_samples import GOAL, a_space, a_start
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

chunks = st.builds(
    ContextChunk, request_id=st.just(0), tokens=st.integers(1, 512), past=st.integers(0, 512)
)
steps = st.builds(
    Step,
    iteration=st.just(0),
    context=st.lists(chunks, max_size=4).map(tuple),
    generation=st.lists(st.integers(1, 2048), max_size=200).map(tuple),
)


@given(steps, st.booleans())
def test_the_parts_of_an_iteration_add_up_to_it(step, fmha):
    """Nothing of an iteration's time is lost or told twice, with and without context FMHA."""
    engine = replace(a_start().engine, context_fmha=fmha)
    cost = cost_model(gb10(), engine)
    parts = limits_module._parts_of(cost, step)

    assert parts.step_s == pytest.approx(cost.step_seconds(step), rel=1e-9)
    assert all(getattr(parts, field.name) >= 0 for field in fields(parts))


def test_a_point_is_taken_apart_into_its_mean_iteration():
    """The decomposition is of the iterations that virtual time runs, in a planted slowdown too."""
    slow = gb10()
    slow = replace(slow, simulation=replace(slow.simulation, step_time_factor=1.5))
    point = a_start()
    steps_ = schedule(point).steps
    for profile in (gb10(), slow):
        cost = cost_model(profile, point.engine)
        mean_s = np.mean([cost.step_seconds(step) for step in steps_])
        found = decompose(profile, point)

        assert found.step_s == pytest.approx(mean_s)
        assert 0 < found.prefill_s < 0.2 * found.step_s


@given(st.lists(st.floats(0, 3000), min_size=1, max_size=20))
def test_no_mix_of_iterations_is_cheaper_than_the_envelope(tokens):
    """Jensen: the mean cost of any iterations is at least the envelope at their mean size."""
    cost = cost_model(gb10(), a_start().engine)
    each = [
        max(
            cost.weights_s * (1 + cost.loss * m / (m + cost.loss_half_tokens)),
            cost.gemm_token_s * m,
        )
        for m in tokens
    ]

    assert limits_module._envelope(cost, float(np.mean(tokens))) <= np.mean(each) * (1 + 1e-9)


def test_no_setting_passes_the_limit():
    """What the simulation reaches under the ceiling stays below the limit as fitted."""
    space = a_space()
    start = replace(
        space.settings_of(a_start()),
        tokens_per_block=64,
        chunked_context=True,
        max_batch_size=256,
        max_num_tokens=368,
    )
    found = climb(
        lambda concurrency: replace(start, concurrency=concurrency),
        GOAL,
        _virtual(space),
        first=180,
        tries=2,
    )
    limit = limits(gb10(), a_start(), GOAL.ceiling_p95_s, most=4096)[0]

    assert fastest(found, GOAL).outcome.throughput_tok_s < limit.throughput_tok_s


def test_better_hardware_raises_the_limit_and_perfect_kernels_most():
    """Each parameter at its better bound is worth something or nothing, never less."""
    fitted, *better, perfect = limits(gb10(), a_start(), 7.0, most=4096)

    assert (fitted.name, perfect.name) == ("as fitted", "perfect kernels")
    assert all(one.throughput_tok_s >= fitted.throughput_tok_s for one in better)
    assert perfect.throughput_tok_s > max(one.throughput_tok_s for one in better)


def test_the_limit_is_where_the_mean_request_meets_the_ceiling():
    """One client more would take longer than the ceiling."""
    load = a_start().workload
    for one in limits(gb10(), a_start(), 7.0, most=4096):
        assert (load.osl + 1) * one.step_s <= 7.0
        assert one.throughput_tok_s == pytest.approx(
            one.concurrency * load.osl / ((load.osl + 1) * one.step_s)
        )
