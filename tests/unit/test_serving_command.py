"""The tritonserver command line keeps the server ours: unreachable from outside, uniquely named."""

from pathlib import Path

import pytest

from perfgate.serving.command import EXIT_TIMEOUT_S, RESPONSE_THREADS, Ports, server_command
from perfgate.serving.launch import GRACE_S

pytestmark = pytest.mark.unit

ARGV = server_command(
    Path("/opt/tritonserver/bin/tritonserver"),
    repository=Path("/r/models"),
    backends=Path("/r/backends"),
    ports=Ports(http=1111, grpc=2222, metrics=3333),
    identity="perfgate-abc-",
)


def value(flag):
    """The value of the one argument with that flag."""
    (found,) = [word.removeprefix(f"{flag}=") for word in ARGV if word.startswith(f"{flag}=")]
    return found


@pytest.mark.parametrize(
    ("service", "port"), [("http", "1111"), ("grpc", "2222"), ("metrics", "3333")]
)
def test_every_service_listens_on_the_loopback_interface_only(service, port):
    """Each port is the one picked, bound where no network reaches it."""
    assert value(f"--{service}-port") == port
    assert value(f"--{service}-address") == "127.0.0.1"


def test_two_servers_share_no_memory_segment():
    """The server's name is the prefix of its shared memory."""
    assert value("--id") == "perfgate-abc-"
    assert "--backend-config=python,shm-region-prefix-name=perfgate-abc-" in ARGV


def test_triton_s_own_patience_ends_before_the_guard_s():
    """It may end requests in flight before it is killed."""
    assert value("--exit-timeout-secs") == str(EXIT_TIMEOUT_S)
    assert EXIT_TIMEOUT_S < GRACE_S


def test_the_python_backend_answers_through_few_threads():
    """Its own default of 32 would contend for one lock."""
    assert f"--backend-config=python,thread-pool-size={RESPONSE_THREADS}" in ARGV
    assert 1 <= RESPONSE_THREADS <= 8


def test_the_server_tells_its_own_percentiles():
    """The only P95 that Triton itself knows; off unless asked for."""
    assert value("--metrics-config") == "summary_latencies=true"


def test_the_repository_is_taken_as_it_was_rendered():
    """Triton completes no configuration: what was checked is what runs."""
    assert value("--model-repository") == "/r/models"
    assert value("--backend-directory") == "/r/backends"
    assert "--disable-auto-complete-config" in ARGV
