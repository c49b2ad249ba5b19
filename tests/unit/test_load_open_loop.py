"""An open loop against the mocked server: sent when due, whatever the server does."""

from __future__ import annotations

from itertools import pairwise

import pytest

from perfgate.load.fleet import here
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Receiver
from perfgate.mock_server import Script
from perfgate.model import ArrivalProcess, Arrivals, RequestStatus, Sessions, Workload
from perfgate.traffic.backlog import LATE_SEND_NS, held_back
from perfgate.traffic.schedule import plan_schedule

pytestmark = pytest.mark.unit

BURSTS = Arrivals(process=ArrivalProcess.BURSTS, requests_per_s=200.0, burst=4)
OPEN = Workload(concurrency=6, isl=8, osl=4, arrivals=BURSTS)


@pytest.fixture(params=list(Receiver), ids=str)
def drive(request, mocked_server, tmp_path):
    """Puts a load of 40 requests on the server, once with each receiver."""

    def run(load, *, ramp=8, rounds=(10, 10), seconds=None, workers=1, **options):
        texts = [f"prompt {number}" for number in range(40)]
        with RunningLoad(
            mocked_server.server,
            load,
            texts,
            spool=tmp_path,
            ramp=ramp,
            receiver=request.param,
            crew=here(workers),
            **options,
        ) as running:
            running.ramp_up()
            for requests in rounds:
                running.round(requests, seconds)
            return running.finish()

    return run


def test_every_request_is_sent_once_and_never_early(drive):
    """In the order of the schedule, due when it says; the ramp is eight requests."""
    outcome = drive(OPEN)
    records = sorted(outcome.records, key=lambda record: record.index)
    planned = plan_schedule(OPEN, len(records)).due_ns

    assert outcome.faults == ()
    assert len(records) >= 28
    assert [record.index for record in records] == list(range(len(records)))
    assert [record.due_ns - records[0].due_ns for record in records] == list(planned)
    assert all(record.sent_ns >= record.due_ns for record in records)
    assert {record.status for record in records} == {RequestStatus.OK}
    assert len(outcome.marks_ns) == 3
    assert sum(record.finished_ns <= outcome.marks_ns[0] for record in records) >= 8


def test_a_slower_engine_is_given_as_much_longer(drive):
    """Arrivals come, and a round's time is up, three times later than in the engine's time."""
    rare = Arrivals(process=ArrivalProcess.CONSTANT, requests_per_s=60.0)
    load = Workload(concurrency=6, isl=8, osl=1, arrivals=rare)
    outcome = drive(load, ramp=1, rounds=(30,), seconds=0.2, time_dilation=3)
    records = sorted(outcome.records, key=lambda record: record.index)
    planned = plan_schedule(load, len(records)).due_ns

    assert [record.due_ns - records[0].due_ns for record in records] == [3 * at for at in planned]
    assert outcome.marks_ns[1] - outcome.marks_ns[0] >= 550_000_000


def test_several_workers_keep_one_schedule(drive):
    """Each request is due when the whole load's schedule says, whichever worker sends it."""
    records = drive(OPEN, workers=2).records
    planned = plan_schedule(OPEN, 40).due_ns

    assert len({record.due_ns - planned[record.index] for record in records}) == 1
    assert all(record.client % 2 == record.index % 2 for record in records)


def test_several_workers_keep_conversations_together(drive):
    """Each client holds the conversation of its number, from the turn of its number on."""
    load = Workload(concurrency=4, isl=8, osl=2, sessions=Sessions(turns=3))
    records = drive(load, ramp=1, rounds=(8,), workers=2).records

    for client in range(4):
        mine = [record.index for record in records if record.client == client]
        assert mine[0] == client * 3 + client % 3
        assert all(b == a + 1 or (a % 3, b % 3) == (2, 0) for a, b in pairwise(mine))
        assert {index // 3 % 2 for index in mine} == {client % 2}


def test_a_late_request_is_late_from_when_it_was_due(drive, mocked_server):
    """With one client and bursts of four, three wait; their wait is in no client's audit."""
    mocked_server.script = Script(itl_s=0.01)
    slow = Arrivals(process=ArrivalProcess.BURSTS, requests_per_s=8.0, burst=4)
    outcome = drive(Workload(concurrency=1, isl=8, osl=2, arrivals=slow), ramp=1, rounds=(7,))
    burst = sorted(outcome.records, key=lambda record: record.index)[:4]

    assert len({record.due_ns for record in burst}) == 1
    for before, after in pairwise(burst):
        assert after.sent_ns >= before.finished_ns > before.sent_ns
    held = held_back(outcome.records, 1)
    late = {r.index for r in outcome.records if r.sent_ns - r.due_ns > LATE_SEND_NS}
    assert late
    assert outcome.audit.late_sends <= len(late - held)


def test_a_round_ends_when_its_time_is_up(drive):
    """Though its requests have not all come: at 2 a second, ten would take five seconds."""
    rare = Arrivals(process=ArrivalProcess.CONSTANT, requests_per_s=20.0)
    outcome = drive(
        Workload(concurrency=6, isl=8, osl=1, arrivals=rare), ramp=1, rounds=(30,), seconds=0.2
    )

    assert len(outcome.marks_ns) == 2
    assert outcome.marks_ns[1] - outcome.marks_ns[0] < 1_500_000_000
    assert len(outcome.records) < 31


def test_a_client_thinks_between_the_turns_of_its_conversation(drive):
    """The next turn is due so long after the answer, and not sent before."""
    load = Workload(concurrency=2, isl=8, osl=2, sessions=Sessions(turns=3, think_s=0.02))
    outcome = drive(load, ramp=1, rounds=(8,))

    for client in range(2):
        mine = [record for record in outcome.records if record.client == client]
        assert mine[0].index == client * 3 + client
        for before, after in pairwise(mine):
            assert after.due_ns == before.finished_ns + 20_000_000
            assert after.sent_ns >= after.due_ns
            assert after.index == before.index + 1 or after.index % 3 == 0
