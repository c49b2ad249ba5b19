"""One run of a server: ready or refused with its last words, and always stopped."""

import contextlib
import itertools
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from perfgate.errors import ServerError
from perfgate.model import Server
from perfgate.serving.command import Ports, server_command
from perfgate.serving.launch import Launch, PortTakenError, is_ready, pick_ports, run
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

STANDIN = Path(__file__).with_name("standin_triton.py")
IDENTITY = "perfgate-test-launch-"


@pytest.fixture
def launch(tmp_path):
    """A function that plans the launch of a stand-in which behaves as told."""
    for model in ("ensemble", "tensorrt_llm"):
        (tmp_path / "models" / model).mkdir(parents=True)

    def plan(how, *, log=None):
        ports = pick_ports()
        triton = server_command(
            STANDIN,
            repository=tmp_path / "models",
            backends=tmp_path,
            ports=ports,
            identity=IDENTITY,
        )
        return Launch(
            argv=(sys.executable, str(STANDIN), how, *triton[1:]),
            environment={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            identity=IDENTITY,
            log=log or tmp_path / "triton.log",
            server=addresses(ports),
        )

    return plan


def addresses(ports):
    """Where the stand-in answers."""
    return Server(
        grpc_url=f"127.0.0.1:{ports.grpc}",
        http_url=f"http://127.0.0.1:{ports.http}",
        metrics_url=f"http://127.0.0.1:{ports.metrics}/metrics",
        simulated=True,
    )


def alive(pid):
    """Whether that process exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def briefly(_):
    """Wait less than asked."""
    time.sleep(0.02)


def a_clock(*, step):
    """A clock that advances by `step` seconds whenever it is read."""
    ticks = itertools.count(step=step)
    return lambda: next(ticks)


def test_a_ready_server_is_yielded_and_then_stopped(launch):
    """Inside it answers under its pid, afterwards the process is gone."""
    with run(launch("ok"), ready_timeout_s=20) as server:
        assert is_ready(server, IDENTITY)
        assert alive(server.pid)

    assert not alive(server.pid)


def test_a_server_that_exits_is_told_with_its_last_words(launch):
    """Status and log tail stand in the message; Triton's table frames do not."""
    with pytest.raises(ServerError) as failure, run(launch("exits"), ready_timeout_s=20):
        pass

    assert "exited with status 1" in str(failure.value)
    assert "engine is for SM 90" in str(failure.value)
    assert "UNAVAILABLE" not in str(failure.value)


def test_a_server_whose_models_never_load_is_given_up(launch):
    """Answering is not ready: after the time allowed it is stopped and told so."""
    plan = launch("never")

    with (
        pytest.raises(ServerError, match=r"was not ready after \d+\.\d s"),
        run(plan, ready_timeout_s=30, clock=a_clock(step=1.0), sleep=briefly),
    ):
        pass

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(plan.server.http_url.split(":")[2]))) != 0


def test_another_server_on_our_port_is_not_taken_for_ours(launch):
    """Readiness asks for the name we gave."""
    with (
        pytest.raises(ServerError, match="was not ready"),
        run(launch("stranger"), ready_timeout_s=30, clock=a_clock(step=1.0), sleep=briefly),
    ):
        pass


def test_a_taken_port_has_an_error_of_its_own(launch):
    """So that the caller picks other ports and tries again."""
    with pytest.raises(PortTakenError), run(launch("taken"), ready_timeout_s=20):
        pass


def test_a_server_that_cannot_be_started_is_told(launch):
    """A binary that is not there fails at once, with what the system said."""
    plan = launch("ok")
    missing = Launch(
        argv=("/nonexistent/tritonserver",),
        environment=plan.environment,
        identity=IDENTITY,
        log=plan.log,
        server=plan.server,
    )

    with (
        pytest.raises(ServerError, match=r"(?s)could not be started.*No such file"),
        run(missing, ready_timeout_s=20),
    ):
        pass


def test_picked_ports_are_three_free_ones():
    """No port twice, each can be bound."""
    ports = pick_ports()

    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    for port in (ports.http, ports.grpc, ports.metrics):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_nobody_there_is_not_ready():
    """A closed port is no answer and no exception."""
    assert not is_ready(addresses(Ports(http=1, grpc=2, metrics=3)), IDENTITY)
