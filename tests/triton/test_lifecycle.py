"""The server comes up ready and leaves nothing behind, however its owner ends."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.triton.conftest import ROOT
from tests.triton.traces import group_of, listening, segments, wait_until_gone

pytestmark = pytest.mark.triton

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
    time.sleep(600)  # until it is killed
"""


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

    wait_until_gone(pid, mine, port)


def test_nothing_outlives_a_server_that_was_killed(owner):
    """If Triton itself is killed, its stubs and its shared memory go with it."""
    _, pid, port, mine = owner
    os.kill(pid, signal.SIGKILL)

    wait_until_gone(pid, mine, port)
