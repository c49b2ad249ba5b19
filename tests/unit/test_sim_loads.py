"""Points under their own load in virtual time: what traffic that is not uniform does to latency."""

from __future__ import annotations

import pytest

from perfgate.model import Policy, Sessions, Workload
from perfgate.sim.loads import loads_text, measure_virtually
from perfgate.suite import load_suite
from tests.unit.sim_samples import ROOT, a_reference_point, gb10

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def measured():
    """The suite's points of uneven traffic, by name."""
    suite = load_suite(ROOT)
    names = ("poisson", "bursts", "mixed", "mixed-chunked")
    return {
        name: measure_virtually(suite.point(f"fp8-b64-{name}"), gb10(), suite.policy)
        for name in names
    }


def part(measurement, name):
    """One part of a mix."""
    return next(one for one in measurement.parts if one.name == name)


def test_none_of_them_is_vetoed(measured):
    """Their rates lie within what the engine takes."""
    assert {name: one.vetoes for name, one in measured.items()} == dict.fromkeys(measured, ())


def test_bursts_make_first_tokens_wait(measured):
    """At the same mean rate each prompt waits for those that came with it."""
    assert measured["bursts"].ttft_s.p50 > 3 * measured["poisson"].ttft_s.p50


def test_long_prompts_hold_up_everybody(measured):
    """Short requests, as short as before, wait longer for all of their tokens."""
    assert measured["mixed"].itl_s.p99 > 3 * measured["poisson"].itl_s.p99
    assert part(measured["mixed"], "short").ttft_s.p95 > 1.5 * measured["poisson"].ttft_s.p95


def test_chunked_context_shortens_the_stalls(measured):
    """Long prompts in pieces: gaps a third as long, short requests served sooner; long ones pay."""
    whole, chunked = measured["mixed"], measured["mixed-chunked"]

    assert chunked.itl_s.p99 < whole.itl_s.p99 / 2
    assert chunked.latency_s.p95 < whole.latency_s.p95
    assert part(chunked, "short").ttft_s.p95 < part(whole, "short").ttft_s.p95
    assert part(chunked, "long").ttft_s.p50 > part(whole, "long").ttft_s.p50


def test_the_same_seed_gives_the_same_run():
    """Virtual time leaves nothing to chance."""
    point = load_suite(ROOT).point("fp8-b64-poisson")

    first, second = (measure_virtually(point, gb10(), Policy()) for _ in range(2))

    assert first == second


def test_conversations_grow_and_think():
    """With thinking Little's law counts the thinkers too."""
    load = Workload(concurrency=4, isl=8, osl=8, sessions=Sessions(turns=4, think_s=0.02))
    sizes = load_suite(ROOT).point("fp8-b16-c16").sampling
    measured = measure_virtually(a_reference_point(workload=load, sampling=sizes), gb10(), Policy())

    assert measured.vetoes == ()
    assert measured.mean_in_flight < 4


def test_the_text_has_a_line_for_each_part(measured):
    """The point, then its parts."""
    lines = loads_text("gb10", [measured["mixed"]]).splitlines()

    assert lines[0] == "SIMULATED gb10"
    assert [line.split()[0] for line in lines[3:]] == ["fp8-b64-mixed", "short", "long"]
    assert "6 requests/s poisson" in lines[3]
