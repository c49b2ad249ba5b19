"""The plain server that stamps what it sends: a real process, real sockets."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perfgate.errors import ServerError
from perfgate.load.calibration import calibrate_client
from perfgate.model import Protocol, Workload
from perfgate.serving import stamped_plain
from perfgate.serving.stamped_plain import serve_plain

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.OPENAI])
def test_every_token_comes_once_in_order_and_after_it_was_sent(protocol):
    """Two streams, five requests after the ramp, each of them whole by the server's numbers."""
    with serve_plain(step_s=0.001, protocol=protocol) as server:
        found = calibrate_client(server, Workload(concurrency=2, isl=4, osl=8), requests=5)

    fidelity = found.fidelity
    assert found.faults == ()
    assert fidelity.requests >= 5
    assert fidelity.tokens == fidelity.requests * 8
    assert (fidelity.lost, fidelity.doubled, fidelity.reordered) == (0, 0, 0)
    assert fidelity.lag.p50_s > 0


def test_tokens_keep_the_pace_that_was_asked_for():
    """Eight tokens of 5 ms each take no less than seven such steps."""
    with serve_plain(step_s=0.005, protocol=Protocol.HTTP) as server:
        found = calibrate_client(server, Workload(concurrency=1, isl=4, osl=8), requests=1)

    assert found.tok_s <= 1 / 0.005 * 8 / 7


def test_the_server_goes_with_whoever_asked_for_it():
    """After an error inside, too: no process, no port."""
    with (
        pytest.raises(ZeroDivisionError),
        serve_plain(step_s=0.001, protocol=Protocol.HTTP) as server,
    ):
        raise ZeroDivisionError

    place = urlsplit(server.http_url)
    assert not Path(f"/proc/{server.pid}").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.hostname, place.port), 1.0)


def test_a_server_that_does_not_start_says_what_became_of_it(monkeypatch):
    """Its command and its exit status."""
    monkeypatch.setattr(stamped_plain, "__name__", "perfgate.nothing_of_this_name")

    with (
        pytest.raises(ServerError, match=r"nothing_of_this_name 1000 ended with 1 before it"),
        serve_plain(step_s=0.001, protocol=Protocol.HTTP),
    ):
        pass
