"""Tests are shared out by the GPU their engine belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.sharing import gpu_group
from perfgate.suite import load_suite
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

SUITE = load_suite(ROOT)
POINTS = st.sampled_from(SUITE.points)


@given(POINTS, POINTS, st.integers(1, 8))
def test_points_of_one_engine_share_a_gpu(one, other, gpus):
    """So that each engine boots once; and no GPU is named that is not there."""
    groups = [
        gpu_group(f"tests/perf/test_latency.py::test_p95[{point.id}]", SUITE, gpus)
        for point in (one, other)
    ]

    assert all(0 <= group < gpus for group in groups)
    if one.engine == other.engine:
        assert groups[0] == groups[1]


def test_with_one_gpu_there_is_one_group():
    """Whatever -n says."""
    ids = [f"x[{point.id}]" for point in SUITE.points] + ["tests/perf/test_engines.py::test_sizes"]

    assert {gpu_group(nodeid, SUITE, 1) for nodeid in ids} == {0}


def test_engines_are_spread_over_all_gpus():
    """Five engines keep two GPUs busy."""
    assert {gpu_group(f"x[{point.id}]", SUITE, 2) for point in SUITE.points} == {0, 1}


def test_an_id_that_begins_like_another_is_told_apart():
    """`fp8-b192-c16` is not `fp8-b192-c160`, `fp16-prefill` not `fp16-prefill-nofmha`."""
    assert gpu_group("x[fp16-prefill]", SUITE, 5) == gpu_group("x[fp16-b16-c16]", SUITE, 5)
    assert gpu_group("x[fp16-prefill-nofmha]", SUITE, 5) != gpu_group("x[fp16-prefill]", SUITE, 5)
