"""The server comes up ready and leaves nothing behind, however its owner ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.triton.conftest import ROOT

pytestmark = pytest.mark.triton

PATIENCE_S = 30.0
OWNER = """
import sys, time
from pathlib import Path
from perfgate.engines.build import build
from perfgate.hardware import load_profile
from perfgate.model import Target
from perfgate.serving.process import serve
from tests.triton.conftest import ROOT, SERVING, SPEC

folder = Path(sys.argv[1])
profile = load_profile(ROOT / "hardware" / "gb10.toml")
engine = build(SPEC, target=Target.SIM, profile=profile, cache=folder)
with serve(engine, SERVING, workdir=folder) as server:
    print(server.pid, server.grpc_url.split(":")[1], flush=True)
    time.sleep(600)
"""


def group_of(pid):
    """Every live process of the group that `pid` leads."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == pid and state != "Z":
            members.append(int(stat.parent.name))
    return members


def segments():
    """The names of all shared-memory segments that servers of ours have made."""
    return {path.name for path in Path("/dev/shm").glob("perfgate-*")}  # noqa: S108 - shared memory


def listening(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_ready_means_that_the_models_answer(server):
    """Once `serve` yields, engine, ensemble and metrics answer, at once."""
    for model in ("ensemble", "tensorrt_llm", "preprocessing", "postprocessing"):
        with urllib.request.urlopen(f"{server.http_url}/v2/models/{model}/ready") as answer:  # noqa: S310 - our own http URL
            assert answer.status == 200

    assert server.simulated
    assert len(group_of(server.pid)) == 4  # Triton and one stub for each Python model


@pytest.fixture
def owner(tmp_path):
    """A process of its own that serves, and what its server uses: pid, port, segments."""
    before = segments()
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    pid, port = map(int, process.stdout.readline().split())
    yield process, pid, port, segments() - before
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name
)
def test_nothing_outlives_the_owner(owner, how):
    """Killed, terminated or interrupted: no process, no port, no shared memory remains."""
    process, pid, port, mine = owner
    assert mine
    assert listening(port)
    process.send_signal(how)

    deadline = time.monotonic() + PATIENCE_S
    while group_of(pid) or listening(port) or segments() & mine:
        assert time.monotonic() < deadline, (group_of(pid), listening(port), segments() & mine)
        time.sleep(0.05)


def test_nothing_outlives_a_server_that_was_killed(owner):
    """If Triton itself is killed, its stubs and its shared memory go with it."""
    _, pid, port, mine = owner
    os.kill(pid, signal.SIGKILL)

    deadline = time.monotonic() + PATIENCE_S
    while group_of(pid) or listening(port) or segments() & mine:
        assert time.monotonic() < deadline, (group_of(pid), listening(port), segments() & mine)
        time.sleep(0.05)
