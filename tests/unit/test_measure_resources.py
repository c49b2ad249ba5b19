"""What server and GPU did, in few numbers over the window only."""

from dataclasses import replace

import pytest

from perfgate.measure.measure import measure
from perfgate.model import GpuSample, Policy, Sampling, ServerSample, Telemetry
from tests.unit.factories import a_point, a_steady_run

pytestmark = pytest.mark.unit

CLEAN = a_steady_run(a_point(concurrency=4, sampling=Sampling(rounds=4, round_requests=20)))
START, END = CLEAN.marks_ns[0], CLEAN.marks_ns[-1]
INSIDE = (START + 1, (START + END) // 2, END)


def measured(**telemetry):
    """The clean run's measurement with telemetry."""
    run = replace(CLEAN, telemetry=Telemetry(period_s=0.2, **telemetry))
    return measure(run, Policy())


def test_the_server_s_gauges_are_summed_up():
    """The KV cache by its peak, requests by their mean, over the window's samples."""
    samples = [
        ServerSample(at_ns=at, kv_cache=kv, active=4, waiting=waiting, gpu_utilization=0.5)
        for at, kv, waiting in zip(INSIDE, (0.2, 0.6, 0.4), (0, 3, 0), strict=True)
    ]
    use = measured(server=tuple(samples)).resources

    assert (use.samples, use.kv_cache_peak, use.active_mean, use.waiting_mean) == (3, 0.6, 4, 1)
    assert use.gpu_utilization_mean == 0.5
    assert use.sm_clock_mean_mhz is None


def test_the_gpu_is_summed_up():
    """Clock, power and utilisation by their mean, temperature by its highest; NVML goes first."""
    samples = [
        GpuSample(at_ns=at, utilization=0.9, sm_clock_mhz=2400, power_w=40.0, temperature_c=celsius)
        for at, celsius in zip(INSIDE, (60, 70, 65), strict=True)
    ]
    server = (ServerSample(at_ns=INSIDE[0], gpu_utilization=0.1),)
    use = measured(gpu=tuple(samples), server=server).resources

    assert (use.gpu_utilization_mean, use.sm_clock_mean_mhz) == (pytest.approx(0.9), 2400)
    assert (use.power_mean_w, use.temperature_max_c) == (40.0, 70)


@pytest.mark.parametrize("at_ns", [START, END + 1])
def test_ramp_and_aftermath_are_left_out(at_ns):
    """A sample at or before the first mark, or after the last, is none of the window's."""
    assert measured(server=(ServerSample(at_ns=at_ns, kv_cache=1.0),)).resources is None


def test_nothing_watched_is_nothing_said():
    """A run without telemetry has no resource use, and no note about it."""
    measurement = measure(CLEAN, Policy())

    assert measurement.resources is None
    assert measurement.notes == ()


def test_what_was_not_watched_is_noted():
    """The reader of the measurement is told what could not be sampled."""
    assert measured(faults=("the GPU was not watched: no driver",)).notes == (
        "the GPU was not watched: no driver",
    )
