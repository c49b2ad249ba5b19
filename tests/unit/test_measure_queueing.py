"""Loads as queues: what is in them, and whether ever more is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfgate.gate import judge
from perfgate.measure.measure import measure
from perfgate.measure.metrics import first_token_s, latency_s
from perfgate.measure.queueing import in_system_means, littles_law, shortfall
from perfgate.measure.window import steady_window
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Fingerprint,
    OperatingPoint,
    Policy,
    RequestStatus,
    Sampling,
    Target,
    Verdict,
    Workload,
)
from perfgate.sim.virtual_load import virtual_load
from tests.unit.sim_samples import a_profile, a_serving, an_engine
from tests.unit.traffic_samples import a_mix

pytestmark = pytest.mark.unit

# The toy GPU ends about 193 requests of 32 tokens a second in eight slots.
CAPACITY = 193.0


def a_run(share, *, process=ArrivalProcess.POISSON, seed=0, concurrency=512, **load):
    """A virtual run at this share of what the engine takes."""
    burst = 8 if process is ArrivalProcess.BURSTS else 1
    arrivals = Arrivals(process=process, requests_per_s=share * CAPACITY, burst=burst)
    sizes = {"isl": 32, "osl": 32} | load
    return virtual_load(
        OperatingPoint(
            id="open",
            engine=an_engine(),
            serving=a_serving(),
            workload=Workload(concurrency=concurrency, seed=seed, arrivals=arrivals, **sizes),
            sampling=Sampling(rounds=4, round_requests=60),
        ),
        a_profile(),
        Fingerprint(hardware="toy-sim", target=Target.SIM, simulated=True),
        started_at="",
    )


def rules(run):
    """The rules that object."""
    return {veto.rule for veto in measure(run, Policy()).vetoes}


PROCESSES = [p for p in ArrivalProcess if p is not ArrivalProcess.REPLAY]


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_server_that_keeps_up_is_measured(process):
    """At 60 % of its capacity the server has a steady state, and Little's law holds."""
    for seed in range(4):
        assert rules(a_run(0.6, process=process, seed=seed)) == set()


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_rate_beyond_capacity_is_a_backlog(process):
    """At 150 % a third of what arrives is left waiting, and that is told."""
    run = a_run(1.5, process=process)

    assert "backlog" in rules(run)
    assert shortfall(steady_window(run)) == pytest.approx(1 / 3, abs=0.08)


def test_as_many_in_flight_as_may_be_is_a_backlog():
    """Requests that wait for a client to be free are sent late: the bound was reached."""
    assert "backlog" in rules(a_run(1.5, concurrency=16))
    told = measure(a_run(1.5, concurrency=16), Policy()).vetoes[0].message
    assert "does not keep up with 289.5 requests/s" in told


def test_a_backlog_has_a_verdict_of_its_own():
    """UNSTABLE: neither a fast-looking number nor a fault of the measurement."""
    measured = measure(a_run(1.5), Policy())
    judgement = judge(measured, None, Policy())

    assert judgement.verdict is Verdict.UNSTABLE
    assert any("no steady state" in finding.advice for finding in judgement.findings)


def test_a_backlog_beside_a_fault_is_invalid():
    """Where the run itself broke down nothing is known of the server."""
    measured = measure(replace(a_run(1.5), faults=("gone",)), Policy())

    assert judge(measured, None, Policy()).verdict is Verdict.INVALID


def test_closed_loops_have_no_backlog():
    """Their clients wait for their answers."""
    run = a_run(1.5)
    closed = replace(run, point=replace(run.point, workload=Workload(concurrency=1, isl=1, osl=1)))

    assert "backlog" not in rules(closed)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 1.6), st.integers(0, 1000), st.sampled_from([2, 8, 512]))
def test_latency_counts_from_when_a_request_was_due(share, seed, concurrency):
    """No omission: what a request waited to be sent is in its latency and its TTFT."""
    run = a_run(share, seed=seed, concurrency=concurrency)

    for record in run.records:
        assert record.sent_ns >= record.due_ns
        if record.arrivals_ns:
            waited_s = (record.sent_ns - record.due_ns) / 1e9
            served_s = (record.arrivals_ns[0] - record.sent_ns) / 1e9
            assert first_token_s(record) == pytest.approx(waited_s + served_s)
            assert latency_s(record) >= first_token_s(record) >= waited_s


def test_a_bound_on_requests_in_flight_hides_no_latency():
    """The same overload with fewer clients looks no faster: the wait only moves."""
    few, many = (
        measure(a_run(1.5, concurrency=clients), Policy()).latency_s.p50 for clients in (16, 512)
    )

    assert few == pytest.approx(many, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 1.2), st.integers(0, 1000))
def test_the_mean_in_the_system_is_time_spent_over_time(share, seed):
    """Parts of the window average to the whole."""
    window = steady_window(a_run(share, seed=seed))
    spent = sum(
        max(0, min(r.finished_ns, window.end_ns) - max(r.due_ns, window.start_ns))
        for r in window.records
    )
    whole = spent / (window.end_ns - window.start_ns)

    assert in_system_means(window, 1)[0] == pytest.approx(whole)
    assert in_system_means(window, 10).mean() == pytest.approx(whole)


def test_littles_law_sees_requests_that_are_gone():
    """A window in which every fifth request came to nothing does not add up."""
    run = a_run(0.6)
    window = steady_window(run)
    lost = replace(
        window,
        records=tuple(
            replace(r, status=RequestStatus.ERROR) if r.index % 5 == 0 else r
            for r in window.records
        ),
    )
    assert littles_law(window).error < 0.03 + littles_law(window).allowed
    assert littles_law(lost).error > 0.03 + littles_law(lost).allowed


def test_a_mix_is_measured_part_by_part():
    """Short and long requests by themselves; together they are all."""
    mixed = measure(a_run(0.5, mix=a_mix(), isl=96), Policy())

    assert [part.name for part in mixed.parts] == ["short", "long"]
    assert sum(part.requests for part in mixed.parts) == mixed.requests
    short, long = mixed.parts
    assert long.latency_s.p50 < short.latency_s.p50 / 2  # a quarter of the tokens
    assert short.latency_s.n == short.requests
    assert any(note.startswith("long: ") for note in mixed.notes)
