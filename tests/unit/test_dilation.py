"""A simulated GPU slower than real time: planned, recorded and measured as if it were not."""

from dataclasses import replace

import pytest

from perfgate.dilation import dilation_of, in_engine_time, stretch
from perfgate.measure.measure import measure
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Policy,
    Sampling,
    ServerSample,
    ServerTimings,
    Sessions,
    Telemetry,
    Workload,
)
from perfgate.traffic.schedule import plan_schedule
from tests.unit.factories import a_point, a_steady_run, an_audit, in_slow_motion

pytestmark = pytest.mark.unit

POSTPROCESSING = 'nv_inference_request_duration_us{model="postprocessing",version="1"}'
ANSWERED = 'nv_inference_request_success{model="postprocessing",version="1"}'


def timed(record):
    """The record with its engine's own stamps, between the client's."""
    server = ServerTimings(
        arrival_ns=record.sent_ns + 1_000_000,
        first_scheduled_ns=record.sent_ns + 2_000_000,
        first_token_ns=record.arrivals_ns[0] - 1_000_000,
        last_token_ns=record.arrivals_ns[-1] - 4_000_000,
    )
    return replace(record, server=server)


def a_run():
    """A whole run in the engine's time, with all that has times in it."""
    run = a_steady_run(a_point(concurrency=8, sampling=Sampling(rounds=4, round_requests=16)))
    seconds = range(1, 1 + run.marks_ns[-1] // 1_000_000_000)
    samples = tuple(ServerSample(at_ns=s * 1_000_000_000, active=float(s % 9)) for s in seconds)
    return replace(
        run,
        records=tuple(timed(record) for record in run.records),
        audit=replace(an_audit(), stolen_s=0.5),
        telemetry=Telemetry(period_s=1.0, server=samples),
        server_before={POSTPROCESSING: 0.0, ANSWERED: 0.0},
        server_after={POSTPROCESSING: 400_000.0, ANSWERED: 800.0},
    )


def on_the_machine(run, dilation):
    """What a machine records of that run when the engine is so much slower; its stamps are not."""
    return replace(
        in_slow_motion(run, dilation),
        telemetry=replace(
            run.telemetry,
            period_s=dilation,
            server=tuple(replace(s, at_ns=s.at_ns * dilation) for s in run.telemetry.server),
        ),
        server_after=run.server_after | {POSTPROCESSING: 400_000.0 * dilation},
    )


@pytest.mark.parametrize("dilation", [2, 4])
def test_a_slow_run_measures_as_one_in_real_time(dilation):
    """Every number, where the time went and what was seen of the server; a note tells the two."""
    expected = measure(a_run(), Policy())
    run = in_engine_time(on_the_machine(a_run(), dilation), dilation)
    measured = measure(run, Policy())

    assert expected.attribution.phases_s
    assert expected.resources.samples > 1
    assert measured.notes == (
        f"simulated {dilation} times slower than real time, and all times divided by {dilation}",
    )
    assert replace(measured, notes=(), audit=None) == replace(expected, audit=None)


def test_the_client_s_lateness_counts_in_the_engine_s_time():
    """A wake-up 1 ms late is half a millisecond of the engine's; the share of a core stays."""
    before = a_run().audit
    after = in_engine_time(on_the_machine(a_run(), 2), 2).audit

    assert after.lag_p99_s == before.lag_p99_s / 2
    assert after.lag_max_s == before.lag_max_s / 2
    assert after.stolen_share == before.stolen_share / 2
    assert after.cpu_share == before.cpu_share


def test_real_time_changes_nothing():
    """Not even a rounding."""
    run = a_run()

    assert in_engine_time(run, 1) is run
    assert measure(run, Policy()).notes == ()


def test_the_server_says_how_slow_it_runs():
    """A server that says nothing runs in real time."""
    assert dilation_of({'perfgate_sim_time_dilation{model="tensorrt_llm"}': 4.0}) == 4
    assert dilation_of({ANSWERED: 9.0}) == 1


def test_a_load_is_stretched_with_its_engine():
    """Arrivals and pauses for thought are so much longer on the machine's clock."""
    poisson = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=8.0)
    open_loop = Workload(concurrency=4, isl=8, osl=2, arrivals=poisson)
    talk = Workload(concurrency=4, isl=8, osl=2, sessions=Sessions(turns=3, think_s=0.5))
    schedule = plan_schedule(open_loop, 20)

    load, slow = stretch(open_loop, schedule, 2)
    thinking, _ = stretch(talk, plan_schedule(talk, 21), 4)

    assert load == open_loop
    assert slow.due_ns == tuple(2 * due for due in schedule.due_ns)
    assert slow.osl == schedule.osl
    assert thinking.think_s == 2.0
