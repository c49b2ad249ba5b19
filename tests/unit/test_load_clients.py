"""The closed loop's bookkeeping, without any transport."""

from __future__ import annotations

import pytest

from perfgate.load.clients import Clients
from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import Ending, Plan, Receiver, SpoolReader, SpoolWriter

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


@pytest.fixture
def control(tmp_path):
    """The counters the parent reads."""
    block = ControlBlock.create(tmp_path / "control")
    yield block
    block.close()


@pytest.fixture
def clients(tmp_path, control):
    """Two clients with six requests, deadline 3 s, stall 2 s."""
    plan = Plan(
        address="a:1",
        receiver=Receiver.FAST,
        concurrency=2,
        ramp=1,
        deadline_s=3.0,
        stall_s=2.0,
        requests=[b"%d" % index for index in range(6)],
    )
    spool = SpoolWriter(tmp_path / "spool")
    yield Clients(plan, spool, control)
    spool.close()


def converse(clients, client, ending=Ending.FINAL):
    """One request of a client from start to end."""
    exchange = clients.draw(client, 0)
    exchange.ending, exchange.messages = ending, [b"x"]
    clients.settle(exchange)
    return exchange


def test_first_requests_are_the_clients_own(clients):
    """Client i starts with request i, whoever draws first; then they go in order of drawing."""
    drawn = [clients.draw(client, 0).index for client in (1, 0, 1, 0)]

    assert drawn == [1, 0, 2, 3]


def test_every_ended_request_is_spooled_and_counted(clients, control, tmp_path):
    """The parent sees how many have ended, and when every client's first has."""
    for client in (0, 0, 1, 1):
        converse(clients, client)

    assert control[Cell.FINISHED] == 4
    assert control[Cell.RAMPED] == 2
    assert [frame.index for frame in SpoolReader(tmp_path / "spool")] == [0, 2, 1, 3]


def test_a_request_stopped_in_flight_is_spooled_but_not_counted(clients, control, tmp_path):
    """What the end of the load cut off has not ended."""
    converse(clients, 0, Ending.STOPPED)

    assert control[Cell.FINISHED] == 0
    assert len(list(SpoolReader(tmp_path / "spool"))) == 1


def test_a_stopped_load_draws_nothing(clients):
    """After the stop no request is sent, and a fault that comes later is none."""
    told = []
    clients.on_stop = lambda: told.append("stopped")
    clients.stop()
    clients.stop()
    clients.fail("too late")

    assert clients.draw(0, 0) is None
    assert told == ["stopped"]
    assert clients.faults == []


def test_a_load_that_runs_out_of_prompts_says_so(clients):
    """No prompt is ever sent twice."""
    for client in (0, 1, 0, 1, 0, 1):
        converse(clients, client)

    assert clients.draw(0, 0) is None
    assert "all 6 prompts were used" in clients.faults[0]


def test_as_many_failures_as_clients_end_the_load(clients):
    """One failure may be one request's own; two of two clients are the server's."""
    converse(clients, 0, Ending.BROKEN)
    assert not clients.stopped
    converse(clients, 0, Ending.REFUSED)

    assert clients.stopped
    assert "gave up after 2 failed requests" in clients.faults[0]


def test_an_overdue_request_is_named_once(clients):
    """Past its deadline a request is given up, and not again while it is being ended."""
    exchange = clients.draw(0, 0)
    exchange.sent_ns = SECOND

    assert clients.overdue(4 * SECOND) == []
    assert clients.overdue(4 * SECOND + 1) == [exchange]
    assert exchange.error == "no final response within 3 s"
    assert clients.overdue(9 * SECOND) == []


def test_silence_ends_the_load_and_any_message_is_no_silence(clients):
    """The watchdog counts messages of ended requests and of those in flight."""
    clients.watch(0)
    exchange = clients.draw(0, 0)
    exchange.messages.append(b"x")
    clients.watch(3 * SECOND)
    converse(clients, 1)
    clients.watch(6 * SECOND)
    assert not clients.stopped
    clients.watch(8 * SECOND + 1)

    assert "stalled: no response of any kind for 2 s with 1 requests" in clients.faults[0]


def test_a_draining_load_is_over_with_its_last_request(clients):
    """What is in flight may end, nothing follows it."""
    exchange = clients.draw(0, 0)
    clients.drain()
    assert clients.draw(1, 0) is None
    assert not clients.stopped
    exchange.ending = Ending.FINAL
    clients.settle(exchange)

    assert clients.stopped
    assert clients.drained


def test_a_load_with_nothing_in_flight_drains_at_once(clients):
    """There is nothing to wait for."""
    clients.drain()

    assert clients.drained
