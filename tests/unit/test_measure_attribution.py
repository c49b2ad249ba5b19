"""Where the time went: every phase that the stamps tell, adding up to the latency, and no other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.measure.attribution import attribute
from perfgate.measure.measure import measure
from perfgate.measure.window import steady_window
from perfgate.model import Phase, Policy, RequestStatus, Sampling, ServerTimings, Workload
from perfgate.sim.virtual import simulate
from tests.unit.factories import a_load_run, a_record
from tests.unit.sim_samples import a_reference_point, gb10

pytestmark = pytest.mark.unit

MS = 1_000_000
# Of each request: late to send, way in, queue, prefill, decode, way back.
LEGS = (1, 4, 20, 50, 600, 5)
POSTPROCESSING = {
    'nv_inference_request_success{model="postprocessing",version="1"}': 100.0,
    'nv_inference_request_duration_us{model="postprocessing",version="1"}': 200_000.0,
}


def a_timed(legs=LEGS, *, due_ns=0, offset_ns=0, index=0):
    """A request that took these legs, in ms; `offset_ns` is what the server's clock is ahead."""
    at = [due_ns]
    for leg in legs:
        at.append(at[-1] + leg * MS)
    due, sent, arrival, scheduled, first, last, received = at
    record = a_record(index, sent_ns=sent)
    gap = (received - first) // 3
    return replace(
        record,
        due_ns=due,
        arrivals_ns=(received - 3 * gap, received - 2 * gap, received - gap, received),
        finished_ns=received,
        server=ServerTimings(
            arrival_ns=arrival + offset_ns,
            first_scheduled_ns=scheduled + offset_ns,
            first_token_ns=first + offset_ns,
            last_token_ns=last + offset_ns,
        ),
    )


def attributed(*records, **changes):
    """The attribution of a run of these requests, all in its window."""
    run = replace(a_load_run(records, marks_ns=(-1, 10**18)), **changes)
    return attribute(run, steady_window(run))


def test_each_leg_is_its_phase():
    """With one clock every phase is the difference of its two stamps, in seconds."""
    found = attributed(a_timed(), a_timed(due_ns=10 * MS, index=1))

    assert found.phases_s == {
        Phase.CLIENT: pytest.approx(0.001),
        Phase.WAY_IN: pytest.approx(0.004),
        Phase.QUEUE: pytest.approx(0.020),
        Phase.PREFILL: pytest.approx(0.050),
        Phase.DECODE: pytest.approx(0.600),
        Phase.WAY_BACK: pytest.approx(0.005),
    }
    assert found.requests == 2
    assert found.decode_steps == 3


def test_triton_counters_tell_postprocessing_apart():
    """2 ms a message by Triton's counters come off the way back; what was before is not ours."""
    before = dict.fromkeys(POSTPROCESSING, 7.0)
    after = {name: value + 7.0 for name, value in POSTPROCESSING.items()}
    found = attributed(a_timed(), server_before=before, server_after=after)

    assert found.phases_s[Phase.POSTPROCESSING] == pytest.approx(0.002)
    assert found.phases_s[Phase.WAY_BACK] == pytest.approx(0.003)
    assert found.note == ""


def test_counters_that_do_not_fit_are_not_used():
    """More postprocessing than the whole way back took is no part of it; that is said."""
    slow = {
        name: value * (50 if "duration" in name else 1) for name, value in POSTPROCESSING.items()
    }
    found = attributed(a_timed(), server_after=slow)

    assert Phase.POSTPROCESSING not in found.phases_s
    assert found.phases_s[Phase.WAY_BACK] == pytest.approx(0.005)
    assert "includes postprocessing" in found.note


@pytest.mark.parametrize("offset_ns", [10**12, -(10**12)], ids=["ahead", "behind"])
def test_another_host_tells_the_engines_phases_only(offset_ns):
    """With two clocks queue, prefill and decode hold; the rest is one phase, and that is said."""
    found = attributed(a_timed(offset_ns=offset_ns))

    assert found.phases_s == {
        Phase.CLIENT: pytest.approx(0.001),
        Phase.QUEUE: pytest.approx(0.020),
        Phase.PREFILL: pytest.approx(0.050),
        Phase.DECODE: pytest.approx(0.600),
        Phase.NETWORK: pytest.approx(0.009),
    }
    assert "different clocks" in found.note


@given(
    legs=st.lists(st.tuples(*[st.integers(0, 10_000)] * 6), min_size=1, max_size=20),
    offset_ns=st.sampled_from([0, 10**15, -(10**15)]),
    counted=st.booleans(),
)
def test_phases_always_add_up_to_the_latency(legs, offset_ns, counted):
    """Whatever the stamps, the sum is the mean latency within 2 %: in truth, to rounding."""
    records = [a_timed(leg, index=i, offset_ns=offset_ns) for i, leg in enumerate(legs)]
    found = attributed(*records, server_after=POSTPROCESSING if counted else {})

    assert found.phases_s
    assert sum(found.phases_s.values()) == pytest.approx(found.latency_s, rel=1e-9, abs=1e-12)
    assert min(found.phases_s.values()) >= 0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (replace(a_timed(), server=None), "the server timed no request"),
        (a_timed((1, 4, 20, -50, 700, 5)), "out of order"),
        (a_timed((1, 4, 20, 50, 900, -300), offset_ns=10**12), "longer than the client waited"),
    ],
    ids=["no stamps", "disorder", "longer than the wait"],
)
def test_what_cannot_be_told_is_said(record, reason):
    """Stamps that are missing or make no sense give no phase, only the reason."""
    found = attributed(record)

    assert found.phases_s == {}
    assert found.requests == 0
    assert reason in found.note


def test_a_server_that_times_some_requests_is_taken_at_its_word():
    """Only timed requests are attributed, and how many they are is said."""
    found = attributed(a_timed(), replace(a_timed(index=1, due_ns=5 * MS), server=None))

    assert found.requests == 1
    assert "1 of 2 requests" in found.note


def test_every_measurement_has_one():
    """`measure` attributes what it measures, and the sum is its own mean latency."""
    records = [a_timed(due_ns=i * 100 * MS, index=i) for i in range(8)]
    run = a_load_run(records, marks_ns=(-1, 10**18))
    measured = measure(run, Policy())

    told = measured.attribution.phases_s
    assert sum(told.values()) == pytest.approx(measured.latency_s.mean, rel=0.02)


@pytest.mark.parametrize("concurrency", [1, 8, 24])
def test_phases_of_a_simulated_load_add_up_within_two_per_cent(concurrency):
    """Queue, prefill and decode as the engine stamps them explain the latency the client saw."""
    load = Workload(concurrency=concurrency, isl=32, osl=16)
    point = a_reference_point(workload=load)
    run = simulate(point.engine, point.serving, load, gb10(), requests=4 * concurrency + 8)
    records = [one for one in run.records if one.status is RequestStatus.OK]
    measured = measure(
        replace(
            a_load_run(records, marks_ns=(run.steady_ns, run.end_ns)),
            point=replace(point, sampling=Sampling(rounds=1, round_requests=1)),
        ),
        Policy(),
    )

    told = measured.attribution.phases_s
    assert sum(told.values()) == pytest.approx(measured.latency_s.mean, rel=0.02)
    assert (told[Phase.QUEUE] > told[Phase.PREFILL]) == (concurrency > point.engine.max_batch_size)
