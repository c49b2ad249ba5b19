"""How many workers a load takes, and what each of them sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load.shards import renumber, shard, workers_needed
from perfgate.load.spool import Exchange, Plan, Receiver
from perfgate.traffic.pace import pace_of

pytestmark = pytest.mark.unit


def plan(clients, requests, **changes):
    """A load of so many clients and requests, each of them its own number."""
    return Plan(
        address="a:1",
        receiver=Receiver.FAST,
        concurrency=clients,
        ramp=1,
        deadline_s=1.0,
        stall_s=1.0,
        requests=[b"%d" % number for number in range(requests)],
        **changes,
    )


@pytest.mark.parametrize(
    ("tok_s", "cores", "workers"),
    [
        (3_000, 64, 1),  # 0.12 cores
        (12_500, 64, 1),  # half a core
        (12_501, 64, 2),
        (100_000, 64, 8),
        (100_000, 4, 3),  # the server keeps a core
        (100_000, 2, 1),
        (100_000, 1, 1),
        (0, 64, 1),
    ],
)
def test_a_worker_is_added_for_each_half_core_of_load(tok_s, cores, workers):
    """At 40 us a token one worker takes 12,500 tokens/s; cores set the limit."""
    assert workers_needed(tok_s, clients=1000, cores=cores, cpu_s_per_token=40e-6) == workers


def test_no_worker_is_without_a_client():
    """Three clients keep three workers busy, not eight."""
    assert workers_needed(100_000, clients=3, cores=64) == 3


@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 200))
def test_clients_and_requests_are_dealt_out_once_each(workers, more_clients, more_requests):
    """Renumbered, what the workers have is the whole load, and clients' firsts are their own."""
    clients = workers + more_clients
    whole = plan(clients, clients + more_requests)
    shards = shard(whole, workers)

    sent = {}
    for worker, part in enumerate(shards):
        assert clients // workers <= part.concurrency <= -(-clients // workers)
        for index, request in enumerate(part.requests):
            exchange = Exchange(index=index, client=min(index, part.concurrency - 1), due_ns=0)
            whole_exchange = renumber(exchange, worker, workers)
            sent[whole_exchange.index] = request
            if index < part.concurrency:
                assert whole_exchange.client == whole_exchange.index < clients
    assert [sent[index] for index in range(len(whole.requests))] == whole.requests


@given(st.integers(1, 5), st.integers(0, 20), st.integers(0, 100), st.integers(2, 6))
def test_conversations_stay_together(workers, more_clients, more_requests, turns):
    """Each client has the conversation of its number, begun at the turn of its number."""
    clients = workers + more_clients
    whole = plan(clients, clients * turns + more_requests, turns=turns, think_ns=7)

    sent, firsts = {}, {}
    for worker, part in enumerate(shard(whole, workers)):
        pace = pace_of(
            part.concurrency, len(part.requests), (), turns=part.turns, numbers=part.numbers
        )
        assert (part.turns, part.think_ns) == (turns, 7)
        for client in range(part.concurrency):
            while (turn := pace.free(client, 0)) is not None:
                exchange = Exchange(index=turn.request, client=client, due_ns=0)
                own = renumber(exchange, worker, workers, turns=turns)
                sent[own.index] = part.requests[turn.request]
                firsts.setdefault(own.client, own.index)
                if own.index % turns == turns - 1:
                    break
    assert firsts == {client: client * turns + client % turns for client in range(clients)}
    assert all(whole.requests[index] == request for index, request in sent.items())
    assert len(sent) == sum(turns - client % turns for client in range(clients))


def test_times_go_with_their_requests():
    """In an open loop each worker sends its requests when they are due in the whole load."""
    first, second = shard(plan(4, 5, due_ns=(0, 10, 20, 30, 40)), 2)

    assert (first.requests, first.due_ns) == ([b"0", b"2", b"4"], (0, 20, 40))
    assert (second.requests, second.due_ns) == ([b"1", b"3"], (10, 30))


def test_one_worker_has_the_whole_load():
    """Nothing is changed for it."""
    assert shard(plan(4, 9), 1) == (plan(4, 9),)
