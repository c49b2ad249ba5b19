"""Who sends what next: each request once, at its time, by whoever is free."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.traffic.pace import NEVER, ClosedPace, OpenPace, Turn, pace_of

pytestmark = pytest.mark.unit


def drive(pace, clients, service_ns, stop=1000):
    """Run a pace against a server that takes `service_ns[i]` (cyclic): turns with their sending."""
    now, sent, busy = 0, [], []

    def send(turn):
        sent.append((turn, now))
        busy.append((now + service_ns[turn.request % len(service_ns)], turn.client))

    for client in range(clients):
        if (turn := pace.free(client, 0)) is not None:
            send(turn)
    while len(sent) < stop and (busy or pace.next_due_ns < NEVER):
        end = min(busy, default=(NEVER, -1))
        now = min(end[0], pace.next_due_ns)
        if now == end[0]:
            busy.remove(end)
            if (turn := pace.free(end[1], now)) is not None:
                send(turn)
        while (turn := pace.due(now)) is not None:
            send(turn)
    return sent


gaps = st.lists(st.integers(0, 50), min_size=1, max_size=60)
services = st.lists(st.integers(1, 200), min_size=1, max_size=10)


@given(gaps, services, st.integers(1, 8))
def test_an_open_loop_sends_each_request_once_and_never_early(gaps, services, clients):
    """In order, at its time, or as soon as somebody is free; due when it was due."""
    due_ns = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    sent = drive(OpenPace(due_ns), clients, services)

    assert [turn.request for turn, _ in sent] == list(range(len(due_ns)))
    assert [turn.due_ns for turn, _ in sent] == due_ns
    assert all(at >= turn.due_ns for turn, at in sent)


@given(gaps, services)
def test_with_clients_enough_an_open_loop_is_never_late(gaps, services):
    """Whatever has become of the requests before."""
    due_ns = [sum(gaps[: i + 1]) for i in range(len(gaps))]

    assert all(at == turn.due_ns for turn, at in drive(OpenPace(due_ns), len(due_ns), services))


@given(gaps, services, st.integers(1, 3))
def test_an_open_loop_is_late_only_while_all_are_busy(gaps, services, clients):
    """A late request is sent the moment a client becomes free."""
    due_ns = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    sent = drive(OpenPace(due_ns), clients, services)
    ends = {at + services[turn.request % len(services)] for turn, at in sent}

    assert all(at in ends for turn, at in sent if at > turn.due_ns)


@given(services, st.integers(1, 6), st.integers(1, 4), st.integers(0, 100))
def test_a_closed_loop_s_clients_each_follow_their_conversation(services, clients, turns, think):
    """Turn after turn, thinking in between; no request is sent twice."""
    pace = ClosedPace(clients, 400, turns=turns, think_ns=think)
    sent = drive(pace, clients, services)
    requests = [turn.request for turn, _ in sent]

    assert len(set(requests)) == len(requests)
    for client in range(clients):
        mine = [(turn, at) for turn, at in sent if turn.client == client]
        assert mine[0][0] == Turn(client, client * turns + client % turns, 0)
        for (before, sent_at), (after, at) in pairwise(mine):
            ended = sent_at + services[before.request % len(services)]
            assert at == after.due_ns == ended + think
            if (before.request + 1) % turns:
                assert after.request == before.request + 1
            else:
                assert after.request % turns == 0
    assert pace.exhausted


def test_a_closed_loop_takes_requests_in_the_order_of_asking():
    """Without conversations: the firsts are the clients' own, then the next one."""
    pace = ClosedPace(2, 5)

    asked = [pace.free(client, 7) for client in (1, 0, 1, 1, 0)]
    assert [turn.request for turn in asked[:4]] == [1, 0, 2, 3]
    assert not pace.exhausted
    assert pace.free(0, 8) is None
    assert pace.exhausted
    assert pace.next_due_ns == NEVER


def test_an_open_loop_at_its_end_is_not_exhausted():
    """All is sent; what is in flight may end."""
    pace = pace_of(1, 1, [0])

    assert pace.free(0, 5) == Turn(0, 0, 5)
    assert pace.free(0, 6) is None
    assert pace.next_due_ns == NEVER
    assert not pace.exhausted


def test_whoever_has_been_idle_longest_sends():
    """So that the load spreads over all connections."""
    pace = pace_of(3, 2, [10, 20])
    for client in (2, 0, 1):
        pace.free(client, 0)

    assert pace.next_due_ns == 10
    assert pace.due(9) is None
    assert [pace.due(20).client, pace.due(20).client] == [2, 0]
    assert pace.due(99) is None
