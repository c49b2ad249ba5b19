"""The roofline is a bound, and the simulated engine stays under it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfgate.model import Precision, Workload
from perfgate.sim.roofline import roofline
from perfgate.sim.virtual import simulate, steady_state
from tests.unit.sim_samples import a_profile, a_serving, an_engine, gb10

pytestmark = pytest.mark.unit


def test_one_request_is_bound_by_its_bytes():
    """At batch 1 the bound is bandwidth over weights and cache."""
    load = Workload(concurrency=1, isl=128, osl=100)
    read = 260_000 + 0.99 * (128 + 50) * 100

    assert roofline(a_profile(), an_engine(), load).tok_s == pytest.approx(1e9 / read)


def test_a_long_prompt_is_bound_by_compute():
    """One output token for a long prompt costs the prompt's FLOPs."""
    load = Workload(concurrency=1, isl=100_000, osl=1)

    assert roofline(a_profile(), an_engine(), load).tok_s == pytest.approx(
        2e12 / (320_000 * 100_000)
    )


def test_requests_beyond_the_batch_raise_no_roof():
    """Only max_batch_size requests run at a time."""
    few, many = (Workload(concurrency=c, isl=32, osl=32) for c in (8, 800))

    assert roofline(gb10(), an_engine(), few) == roofline(gb10(), an_engine(), many)


@settings(max_examples=25, deadline=None)
@given(
    concurrency=st.integers(1, 12),
    isl=st.integers(1, 256),
    osl=st.integers(1, 64),
    precision=st.sampled_from(Precision),
)
def test_the_simulation_stays_below(concurrency, isl, osl, precision):
    """No simulated throughput exceeds the physical limit."""
    engine = an_engine(precision=precision)
    load = Workload(concurrency=concurrency, isl=isl, osl=osl)
    serving = a_serving(kv_cache_tokens=8192)
    run = simulate(engine, serving, load, gb10(), requests=6 * concurrency)

    assert steady_state(run).throughput_tok_s < roofline(gb10(), engine, load).tok_s
