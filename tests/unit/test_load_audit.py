"""Marks and the client's own audit, from records and heartbeats."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load.audit import audit_client, combine
from perfgate.load.spool import Beat
from perfgate.model import RequestStatus
from perfgate.traffic.backlog import LATE_SEND_NS
from perfgate.traffic.rounds import find_marks
from tests.unit.factories import a_record, an_audit

pytestmark = pytest.mark.unit


def ended(*ends, clients=2, status=RequestStatus.OK):
    """Requests 0, 1, 2, ... that ended at these times, of clients in turn."""
    return [
        replace(a_record(index), client=index % clients, finished_ns=end, status=status)
        for index, end in enumerate(ends)
    ]


def beat(at_ns, lag_ns=0, **counts):
    """One heartbeat."""
    return Beat(at_ns=at_ns, lag_ns=lag_ns, **{"cpu_ns": 0, "involuntary_switches": 0, **counts})


def test_marks_follow_the_last_first_request():
    """Two clients whose first requests end at 10 and 40: rounds of two end at 60 and 80."""
    quick = ended(10, 20, 30, 50, 70, clients=1)
    slow = [replace(record, client=1) for record in ended(40, 60, 80)]
    records = [*quick, *slow]

    assert find_marks(records, 2, [2, 2]) == (40, 60, 80)


def test_a_longer_ramp_waits_for_every_clients_next_request():
    """With a ramp of two the clients' second requests, at 20 and 30, bound it."""
    records = ended(10, 15, 20, 30, 50, 60)

    assert find_marks(records, 2, [1], ramp=1) == (15, 20)
    assert find_marks(records, 2, [1], ramp=2) == (30, 50)


def test_rounds_that_were_not_reached_have_no_mark():
    """A load cut short keeps the marks it reached."""
    assert find_marks(ended(10, 20, 30, 40), 2, [2, 2]) == (20, 40)
    assert find_marks(ended(10, 20, clients=3), 3, [1]) == ()


def test_a_failed_first_request_ends_the_ramp_too():
    """An error is an end like any other; the veto is somebody else's business."""
    assert find_marks(ended(10, 20, status=RequestStatus.ERROR), 2, []) == (20,)


def test_requests_stopped_in_flight_make_no_mark():
    """An unfinished request ended with the load, not by itself."""
    records = [*ended(10, 20), *ended(30, status=RequestStatus.UNFINISHED)]

    assert find_marks(records, 2, [1]) == (20,)


@given(st.lists(st.integers(0, 10**6), min_size=10, max_size=30, unique=True), st.randoms())
def test_marks_do_not_depend_on_the_order_of_records(ends, rng):
    """Marks are computed from times alone."""
    records = ended(*ends, clients=3)
    shuffled = rng.sample(records, len(records))

    assert find_marks(shuffled, 3, [2, 2]) == find_marks(records, 3, [2, 2])


def test_the_ramp_is_left_out_of_the_audit():
    """Lag and CPU of the start, when all streams open at once, are not charged to the window."""
    beats = [
        beat(0, lag_ns=10**9, cpu_ns=0),
        beat(
            100,
            1000,
            cpu_ns=50,
            involuntary_switches=2,
            voluntary_switches=10,
            waited_ns=5,
            stolen_ns=1,
        ),
        beat(
            200,
            3000,
            cpu_ns=70,
            involuntary_switches=3,
            voluntary_switches=14,
            waited_ns=35,
            stolen_ns=11,
        ),
    ]

    audit = audit_client([a_record(0, sent_ns=0, ttft_ns=120, gap_ns=50)], beats, (90, 200))

    assert (audit.cpu_s, audit.wall_s) == (20e-9, 100e-9)
    assert audit.lag_max_s == 3e-6
    assert (audit.involuntary_switches, audit.voluntary_switches) == (1, 4)
    assert (audit.waited_s, audit.stolen_s) == (30e-9, 10e-9)
    assert (audit.wait_share, audit.stolen_share) == (pytest.approx(0.3), pytest.approx(0.1))
    assert audit.messages == 2  # at 120 and 170, not at 220 and 270


def test_the_lag_that_is_judged_is_the_tail_s():
    """Of 100 wake-ups, 3 of them 20 ms late, the P99 is among those; the median would hide them."""
    lags_ns = [1_000] * 97 + [20_000_000] * 3
    beats = [beat(100 + number, lag_ns=lag_ns) for number, lag_ns in enumerate(lags_ns)]

    assert audit_client([], beats, (100, 200)).lag_p99_s == pytest.approx(0.02)


def test_late_sends_are_counted_in_the_window():
    """A request sent over 5 ms after it was due is late; one due in the ramp is not counted."""
    late = replace(a_record(0), due_ns=200, sent_ns=200 + 5_000_001)
    in_time = replace(a_record(1), due_ns=200, sent_ns=200 + 5_000_000)
    in_the_ramp = replace(late, due_ns=50, sent_ns=50 + 10**9)

    audit = audit_client([late, in_time, in_the_ramp], [beat(100), beat(10**9)], (100, 10**9))

    assert audit.late_sends == 1


def test_what_is_late_depends_on_the_engine_s_clock():
    """6 ms of the machine are 3 ms of an engine at half the speed."""
    record = replace(a_record(0), due_ns=200, sent_ns=200 + 6_000_000)
    beats, bounds = [beat(100), beat(10**9)], (100, 10**9)

    assert audit_client([record], beats, bounds).late_sends == 1
    assert audit_client([record], beats, bounds, late_ns=2 * LATE_SEND_NS).late_sends == 0


def test_a_worker_that_left_no_beat_has_a_blank_audit():
    """Nothing is known, and the fault beside it says why."""
    assert audit_client([], [], None).wall_s == 0


def test_several_workers_are_summed_up_by_counts_and_by_the_worst():
    """What adds up is added, what a sum would hide is the worst worker's; each stays visible."""
    calm = replace(an_audit(), cpu_s=1.0, wall_s=10.0, lag_p99_s=0.001, waited_s=0.1, stolen_s=0.0)
    busy = replace(calm, cpu_s=6.0, lag_p99_s=0.02, late_sends=3, waited_s=2.0, stolen_s=0.5)

    both = combine([calm, busy])

    assert both.workers == (calm, busy)
    assert (both.cpu_s, both.cpu_share) == (7.0, 0.6)
    assert (both.messages, both.late_sends) == (80_000, 3)
    assert (both.lag_p99_s, both.wait_share, both.stolen_share) == (0.02, 0.2, 0.05)
    assert combine([calm]) == calm
    assert combine([replace(calm, host="node-2")]).workers[0].host == "node-2"


def test_an_open_loop_s_ramp_is_so_many_requests():
    """Whoever sent them: after three ends the first round begins."""
    records = ended(10, 20, 30, 40, 50, 60, 70)

    assert find_marks(records, None, [2, 2], ramp=3) == (30, 50, 70)
    assert find_marks(records, None, [2], ramp=8) == ()


def test_a_round_ends_when_its_time_is_up():
    """The next one counts from there."""
    records = ended(10, 20, 30, 40, 50, 60, 70)

    assert find_marks(records, None, [9, 2], ramp=1, cuts_ns={0: 35}) == (10, 35, 50)


def test_what_ends_together_is_of_one_round():
    """A round holds the requests asked for, though others ended in the packet of its first mark."""
    records = ended(10, 20, 20, 20, 30, 40)
    marks = find_marks(records, 2, [2])

    assert marks == (20, 40)
    assert sum(marks[0] < record.finished_ns <= marks[1] for record in records) == 2
