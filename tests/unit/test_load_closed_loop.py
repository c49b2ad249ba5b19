"""A closed loop against the mocked server: whatever the server does, the load ends and says so."""

from __future__ import annotations

import functools
import os
import signal
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perfgate.errors import LoadError, UsageError
from perfgate.load.fleet import here
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Receiver
from perfgate.measure.measure import measure
from perfgate.mock_server import Misbehaviour, MockServer, Script
from perfgate.model import Policy, Protocol, RequestStatus, Sampling, Server, Workload
from tests.unit.factories import a_load_run, a_point

pytestmark = pytest.mark.unit

WORKLOAD = Workload(concurrency=4, isl=8, osl=8)
SAMPLING = Sampling(rounds=3, round_requests=8)
PATIENCE_S = 60.0  # far beyond what any of this takes, on however slow a machine


def prompts(count=200):
    """Unique prompts, many more than the rounds take."""
    return [f"prompt {index}" for index in range(count)]


WAYS = {
    "library": (Receiver.GRPC, Protocol.GRPC),
    "grpc": (Receiver.FAST, Protocol.GRPC),
    "http": (Receiver.FAST, Protocol.HTTP),
}


@pytest.fixture(params=WAYS)
def loop(request):
    """Makes a small closed loop, once on each receiver: they must not differ in anything."""
    receiver, protocol = WAYS[request.param]
    return functools.partial(make_loop, receiver=receiver, protocol=protocol)


def make_loop(
    server, spool, *, protocol, texts=None, deadline_s=PATIENCE_S, stall_s=PATIENCE_S, **options
):
    """A small closed loop."""
    return RunningLoad(
        replace(server, protocol=protocol),
        WORKLOAD,
        texts or prompts(),
        spool=spool,
        request_deadline_s=deadline_s,
        stall_s=stall_s,
        **options,
    )


def drive(load):
    """Ramp and rounds, then the outcome; a load that breaks off is finished all the same."""
    broke = ""
    try:
        load.ramp_up()
        for _ in range(SAMPLING.rounds):
            load.round(SAMPLING.round_requests)
    except LoadError as error:
        broke = str(error)
    return load.finish(), broke


def outcome_of(loop, mocked_server, spool, misbehaviour, *, times=1, **options):
    """The outcome of a load that meets `misbehaviour` at its tenth request."""
    mocked_server.script = Script(misbehaviour=misbehaviour, after=10, times=times)
    with loop(mocked_server.server, spool, **options) as load:
        return drive(load)


def test_a_clean_load(loop, mocked_server, tmp_path):
    """Every request ends with its tokens, the marks are all there, nothing is left behind."""
    told = []
    with loop(mocked_server.server, tmp_path, on_progress=lambda *step: told.append(step)) as load:
        outcome, broke = drive(load)

    statuses = {record.status for record in outcome.records}
    finished = [record for record in outcome.records if record.status is RequestStatus.OK]
    assert statuses <= {RequestStatus.OK, RequestStatus.UNFINISHED}
    assert all(record.output_tokens == record.expected_output_tokens for record in finished)
    assert [r.expected_output_tokens for r in sorted(finished, key=lambda r: r.index)][:4] == [
        2,
        4,
        6,
        8,
    ]
    assert len(outcome.marks_ns) == SAMPLING.rounds + 1
    assert (outcome.faults, broke) == ((), "")
    assert outcome.audit.messages > 0
    assert len(set(mocked_server.prompts)) == len(mocked_server.prompts)
    assert told[-1][0] >= WORKLOAD.concurrency + SAMPLING.rounds * SAMPLING.round_requests
    assert list(tmp_path.iterdir()) == []


def test_a_load_ends_with_every_request_answered(loop, mocked_server, tmp_path):
    """Requests in flight at the end of the last round may end: no stream is cut off."""
    mocked_server.script = Script(itl_s=0.02)
    with loop(mocked_server.server, tmp_path) as load:
        outcome, _ = drive(load)

    asked = len(mocked_server.prompts)
    assert [record.status for record in outcome.records] == [RequestStatus.OK] * asked
    assert asked > WORKLOAD.concurrency + SAMPLING.rounds * SAMPLING.round_requests


def test_one_request_is_in_flight_for_each_client(loop, mocked_server, tmp_path):
    """A client sends when its last request has ended, never before, and stamps are in order."""
    with loop(mocked_server.server, tmp_path) as load:
        outcome, _ = drive(load)

    for client in range(WORKLOAD.concurrency):
        own = [record for record in outcome.records if record.client == client]
        for before, after in pairwise(own):
            assert after.due_ns == before.finished_ns <= after.sent_ns
        for record in own:
            stamps = (record.due_ns, record.sent_ns, *record.arrivals_ns, record.finished_ns)
            assert list(stamps) == sorted(stamps)


@pytest.mark.parametrize(
    ("misbehaviour", "words"),
    [
        (
            Misbehaviour.TRUNCATED,
            (
                "closed the stream before its final response",
                "closed the connection, in the midst of its answer",
            ),
        ),
        (
            Misbehaviour.RESET,
            (
                "UNAVAILABLE: the server shut down",
                "closed the connection, in the midst of its answer",
            ),
        ),
        (Misbehaviour.OUT_OF_MEMORY, ("out of memory",)),
        (
            Misbehaviour.REORDERED,
            ("got a response for request", "no HTTP/1.1 answer begins with"),
        ),
    ],
)
def test_a_request_that_fails_is_an_error_and_the_load_goes_on(
    loop, mocked_server, tmp_path, misbehaviour, words
):
    """One failed request is recorded with its reason, and all rounds are completed."""
    outcome, broke = outcome_of(loop, mocked_server, tmp_path, misbehaviour)

    (failed,) = (one for one in outcome.records if one.status is RequestStatus.ERROR)
    assert any(expected in failed.error for expected in words)
    assert any(
        record.client == failed.client and record.due_ns == failed.finished_ns
        for record in outcome.records
    )
    assert len(outcome.marks_ns) == SAMPLING.rounds + 1
    assert broke == ""


def test_a_hung_request_runs_into_its_deadline(loop, mocked_server, tmp_path):
    """Silence in one stream ends with the deadline; the client goes on with a new stream."""
    mocked_server.script = Script(misbehaviour=Misbehaviour.HUNG, after=0, times=1)
    with loop(mocked_server.server, tmp_path, texts=prompts(20_000), deadline_s=1.0) as load:
        outcome, broke = drive(load)

    hung = [record for record in outcome.records if record.status is RequestStatus.DEADLINE]
    assert [record.error for record in hung] == ["no final response within 1 s"]
    assert broke == ""


@pytest.mark.parametrize(
    ("misbehaviour", "tokens"), [(Misbehaviour.WRONG_LENGTH, 7), (Misbehaviour.DUPLICATED, 9)]
)
def test_an_orderly_end_with_wrong_tokens_is_vetoed(
    loop, mocked_server, tmp_path, misbehaviour, tokens
):
    """A token lost or doubled is recorded as it came, and vetoes the measurement."""
    outcome, _ = outcome_of(loop, mocked_server, tmp_path, misbehaviour)
    run = a_load_run(outcome.records, marks_ns=outcome.marks_ns, point=a_point(sampling=SAMPLING))

    finished = [record for record in outcome.records if record.status is RequestStatus.OK]
    wrong = [r.output_tokens for r in finished if r.output_tokens != r.expected_output_tokens]
    assert wrong == [tokens]
    assert "output-length" in [veto.rule for veto in measure(run, Policy()).vetoes]


def test_running_totals_are_recognised(loop, tmp_path):
    """A server that counts all tokens so far is measured like one that counts each message's."""
    with (
        MockServer(Script(misbehaviour=Misbehaviour.CUMULATIVE)) as mock,
        loop(mock.server, tmp_path) as load,
    ):
        outcome, _ = drive(load)

    finished = [record for record in outcome.records if record.status is RequestStatus.OK]
    assert all(set(record.tokens) == {1} for record in finished)
    assert all(record.output_tokens == record.expected_output_tokens for record in finished)


def test_a_silent_server_ends_the_load(loop, mocked_server, tmp_path):
    """When nothing arrives at all, the watchdog ends the load with a fault."""
    outcome, broke = outcome_of(
        loop, mocked_server, tmp_path, Misbehaviour.HUNG, times=None, stall_s=0.5
    )

    assert "stalled: no response of any kind for 0.5 s" in broke
    assert outcome.faults[0] in broke
    assert {record.status for record in outcome.records} >= {RequestStatus.OK}


def test_a_server_that_dies_ends_the_load(loop, mocked_server, tmp_path):
    """A server stopped in mid-run ends the load promptly, with what was recorded until then."""
    mocked_server.script = Script(itl_s=0.01)
    with loop(mocked_server.server, tmp_path, texts=prompts(20_000)) as load:
        load.ramp_up()
        threading.Timer(0.2, mocked_server.stop).start()
        with pytest.raises(LoadError, match="the load ended early"):
            load.round(10_000)
        outcome = load.finish()

    assert outcome.faults
    assert [record for record in outcome.records if record.status is RequestStatus.OK]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_killed_ends_the_load(loop, mocked_server, tmp_path):
    """A worker killed in mid-run is reported at once, and its finished requests are recovered."""
    with loop(mocked_server.server, tmp_path, texts=prompts(20_000)) as load:
        load.ramp_up()
        os.kill(worker_pid(), signal.SIGKILL)
        with pytest.raises(LoadError, match="exit code -9"):
            load.round(10_000)
        outcome = load.finish()

    assert "exit code -9" in outcome.faults[0]
    assert len(outcome.marks_ns) == 1
    assert list(tmp_path.iterdir()) == []


def test_several_workers_make_one_load(loop, mocked_server, tmp_path):
    """Three workers start together and send each request once; their records are one run's."""
    with loop(mocked_server.server, tmp_path, crew=here(3)) as load:
        outcome, broke = drive(load)

    indices = [record.index for record in outcome.records]
    firsts = [record for record in outcome.records if record.index < WORKLOAD.concurrency]
    assert (outcome.faults, broke) == ((), "")
    assert len(set(indices)) == len(indices) == len(mocked_server.prompts)
    assert {record.client for record in outcome.records} == set(range(WORKLOAD.concurrency))
    assert len({record.due_ns for record in firsts}) == 1
    assert len(outcome.marks_ns) == SAMPLING.rounds + 1
    ends = [record.finished_ns for record in outcome.records]
    assert ends == sorted(ends)
    assert all(record.output_tokens == record.expected_output_tokens for record in outcome.records)
    assert len(outcome.audit.workers) == 3
    assert outcome.audit.messages == sum(one.messages for one in outcome.audit.workers)
    assert list(tmp_path.iterdir()) == []


def test_a_load_that_lost_one_of_its_workers_is_invalid(loop, mocked_server, tmp_path):
    """One of two workers killed in mid-run ends the load: it is never measured as a smaller one."""
    with loop(mocked_server.server, tmp_path, texts=prompts(20_000), crew=here(2)) as load:
        load.ramp_up()
        load.round(8)
        os.kill(worker_pids()[1], signal.SIGKILL)
        with pytest.raises(LoadError, match="exit code -9"):
            load.round(10_000)
        outcome = load.finish()

    point = a_point(sampling=Sampling(rounds=1, round_requests=8))
    run = a_load_run(outcome.records, marks_ns=outcome.marks_ns, point=point, faults=outcome.faults)
    assert {record.client % 2 for record in outcome.records} == {0, 1}
    assert "faults" in [veto.rule for veto in measure(run, Policy()).vetoes]
    assert list(tmp_path.iterdir()) == []


def test_prompts_are_never_sent_twice(loop, mocked_server, tmp_path):
    """When they run out the load stops with a fault instead."""
    with loop(mocked_server.server, tmp_path, texts=prompts(20)) as load:
        outcome, broke = drive(load)

    assert "all 20 prompts were used" in broke
    assert len(outcome.records) == 20
    assert len(set(mocked_server.prompts)) == len(mocked_server.prompts)


def test_an_interrupted_load_leaves_nothing(loop, mocked_server, tmp_path):
    """An exception in mid-run ends the worker and removes its files."""
    pids = []

    def drive_until_interrupted():
        with loop(mocked_server.server, tmp_path) as load:
            load.ramp_up()
            pids.append(worker_pid())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive_until_interrupted()

    assert not Path(f"/proc/{pids[0]}").exists()
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_an_error_before_anything_starts(loop, tmp_path):
    """An address where nobody listens is named, and no worker is started."""
    address = "127.0.0.1:9"
    server = Server(grpc_url=address, http_url=f"http://{address}", metrics_url="", simulated=True)

    with pytest.raises(LoadError, match=r"127\.0\.0\.1:9"):
        loop(server, tmp_path).__enter__()

    assert list(tmp_path.iterdir()) == []


def test_the_library_is_not_asked_to_speak_http(mocked_server, tmp_path):
    """It would send gRPC to an HTTP port."""
    with pytest.raises(UsageError, match="it speaks gRPC alone"):
        make_loop(
            mocked_server.server, tmp_path, receiver=Receiver.GRPC, protocol=Protocol.HTTP
        ).__enter__()


def test_a_load_is_a_context_manager(loop, mocked_server, tmp_path):
    """Used without `with` it says what to do."""
    with pytest.raises(LoadError, match="use RunningLoad as a context manager"):
        loop(mocked_server.server, tmp_path).ramp_up()


def worker_pid():
    """The one worker that is a child of this process."""
    (worker,) = worker_pids()
    return worker


def worker_pids():
    """The workers that are children of this process."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return [int(pid) for pid in children if b"perfgate.load.worker" in command_line(pid)]


def command_line(pid):
    """How a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()
