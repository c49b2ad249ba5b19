"""A load in virtual time is measured by the same rules as a real one."""

from dataclasses import replace

import pytest

from perfgate.measure.measure import measure
from perfgate.model import Policy, Sampling, Workload
from perfgate.sim.virtual_load import virtual_fingerprint, virtual_load
from tests.unit.factories import a_point
from tests.unit.sim_samples import a_profile, a_serving, an_engine

pytestmark = pytest.mark.unit


def a_load(concurrency, *, max_batch_size=8, rounds=4, round_requests=16, osl=32):
    """A virtual load on the toy GPU."""
    point = replace(
        a_point(),
        engine=an_engine(max_batch_size=max_batch_size),
        serving=a_serving(),
        workload=Workload(concurrency=concurrency, isl=32, osl=osl),
        sampling=Sampling(rounds=rounds, round_requests=round_requests, ramp=2),
    )
    known = virtual_fingerprint(point, a_profile(), "abc", version="1")
    return virtual_load(point, a_profile(), known, started_at="2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize("concurrency", [1, 3, 8, 13])
def test_no_rule_objects_to_it(concurrency):
    """Rounds, requests, lengths and Little's law hold, below the batch and above."""
    measured = measure(a_load(concurrency), Policy())

    assert not measured.vetoes
    assert measured.mean_in_flight == pytest.approx(concurrency, rel=0.01)


def test_a_round_holds_its_requests_though_a_whole_batch_ends_at_once():
    """Marks lie after all requests that end in the same iteration."""
    run = a_load(24, max_batch_size=8, osl=1)
    ends = sorted(record.finished_ns for record in run.records if record.status == "ok")

    assert len(run.marks_ns) == 5
    for start, end in zip(run.marks_ns, run.marks_ns[1:], strict=False):
        assert sum(start < at <= end for at in ends) >= 16


def test_its_telemetry_tells_running_from_waiting():
    """Of thirteen eight run; the others wait for a place, or are on their way for 5 ms."""
    use = measure(a_load(13), Policy()).resources

    assert use.active_mean - use.waiting_mean == pytest.approx(8, abs=0.2)
    assert 3.5 < use.waiting_mean <= 5
    assert 0 < use.kv_cache_peak <= 1
