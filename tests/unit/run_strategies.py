"""Made-up load runs for hypothesis: closed loops of irregular requests, played in virtual time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from perfgate.model import RequestRecord, RequestStatus, Sampling, ServerTimings
from perfgate.traffic.rounds import find_marks
from perfgate.traffic.schedule import plan_schedule
from tests.unit.factories import a_load_run, a_point

MS = 1_000_000
SAMPLING = Sampling(rounds=2, round_requests=4)


def play(gaps_ms, *, concurrency=4, osl=4):
    """A closed loop whose request i takes `gaps_ms[i]` (cyclic) for each token, for two rounds."""
    point = a_point("made-up", concurrency=concurrency, sampling=SAMPLING)
    point = replace(point, workload=replace(point.workload, osl=osl))
    firsts = plan_schedule(point.workload, concurrency).osl
    free_ns = dict.fromkeys(range(concurrency), 0)
    records = []
    while not _enough(records, concurrency, min(free_ns.values())):
        index = len(records)
        client = index if index < concurrency else min(free_ns, key=free_ns.__getitem__)
        length = firsts[index] if index < concurrency else osl
        gap_ns = gaps_ms[index % len(gaps_ms)] * MS
        records.append(_request(index, client, free_ns[client], gap_ns, length))
        free_ns[client] = records[-1].finished_ns
    records.sort(key=lambda record: record.finished_ns)
    rounds = [SAMPLING.round_requests] * SAMPLING.rounds
    return a_load_run(records, marks_ns=find_marks(records, concurrency, rounds), point=point)


def loops():
    """Closed loops of requests with differing speeds."""
    return st.lists(st.integers(1, 200), min_size=1, max_size=12).map(play)


def whole_records():
    """Any record, with everything that a record can hold."""
    times = st.integers(0, 2**60)
    return st.builds(
        RequestRecord,
        index=st.integers(0, 10**6),
        client=st.integers(0, 10**4),
        due_ns=times,
        sent_ns=times,
        finished_ns=times,
        status=st.sampled_from(RequestStatus),
        arrivals_ns=st.lists(times, max_size=5).map(tuple),
        tokens=st.lists(st.integers(1, 100), max_size=5).map(tuple),
        input_tokens=st.none() | st.integers(0, 10**5),
        expected_output_tokens=st.integers(1, 10**5),
        error=st.text(),
        server=st.none()
        | st.builds(
            ServerTimings,
            arrival_ns=times,
            first_scheduled_ns=times,
            first_token_ns=times,
            last_token_ns=times,
        ),
    )


def _enough(records, concurrency, now_ns):
    """Whether, at a time when all clients are still busy, the last round is over."""
    if len(records) < concurrency:
        return False
    start_ns = max(record.finished_ns for record in records[:concurrency])
    ended = sum(start_ns < record.finished_ns <= now_ns for record in records)
    return ended >= SAMPLING.rounds * SAMPLING.round_requests


def _request(index, client, due_ns, gap_ns, length):
    arrivals = tuple(due_ns + gap_ns * (position + 1) for position in range(length))
    return RequestRecord(
        index=index,
        client=client,
        due_ns=due_ns,
        sent_ns=due_ns,
        finished_ns=arrivals[-1],
        status=RequestStatus.OK,
        arrivals_ns=arrivals,
        tokens=(1,) * length,
        input_tokens=128,
        expected_output_tokens=length,
    )
