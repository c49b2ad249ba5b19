"""A run that is killed or interrupted says so and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from perfgate.hardware import load_profile
from perfgate.model import Sampling, Target, Workload
from perfgate.rig import Rig
from perfgate.setting import Setting
from perfgate.suite import load_suite
from tests.triton.conftest import ROOT, Silent
from tests.triton.traces import PATIENCE_S, segments, servers_of, wait_until_gone

pytestmark = pytest.mark.triton


@pytest.fixture
def rig(tmp_path):
    """A rig on the simulated GB10 that records into a temporary folder."""
    setting = Setting(
        suite=replace(load_suite(ROOT), root=tmp_path),
        target=Target.SIM,
        profile=load_profile(ROOT / "hardware" / "gb10.toml"),
        artifacts=tmp_path / "artifacts",
    )
    with Rig(setting, Silent()) as rig:
        yield rig


def small(point_id, rounds):
    """One of the suite's points under a load of four clients: some 0.4 s a round."""
    return replace(
        load_suite(ROOT).point(point_id),
        workload=Workload(concurrency=4, isl=16, osl=16),
        sampling=Sampling(rounds=rounds, round_requests=4),
    )


def test_a_server_killed_in_mid_run_is_invalid_and_the_next_point_boots_anew(rig):
    """The requests until then are kept, the reason is told, and no speed is read out of it."""
    before = segments()
    killed = []

    def kill():
        deadline = time.monotonic() + PATIENCE_S
        while rig._serving is None and time.monotonic() < deadline:
            time.sleep(0.05)  # the rig tells nobody that it has booted
        time.sleep(4.0)  # connected, past the ramp
        killed.append(rig._serving.server.pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    measurement = rig.measure(small("fp8-b16-c16", rounds=100))
    killer.join()

    assert "faults" in {veto.rule for veto in measurement.vetoes}
    assert measurement.requests > 0
    wait_until_gone(killed[0], segments() - before)
    after = rig.measure(small("fp8-decode", rounds=2))
    assert "faults" not in {veto.rule for veto in after.vetoes}
    assert after.requests == 8


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interrupted_run_stops_its_server(how, tmp_path):
    """Ctrl-C and a CI's SIGTERM end pytest, its worker, Triton, its stubs and its segments."""
    before = segments()
    options = ["-m", "perf", "-k", "c16 and floor", "--target", "sim", "--artifacts", str(tmp_path)]
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "tests/perf", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with run:
        for line in run.stdout:
            if "measure fp16-b16-c16" in line:
                break
        time.sleep(3.0)  # in the middle of its first round
        servers, mine = servers_of(run.pid), segments() - before
        assert servers
        assert mine
        run.send_signal(how)
        rest = run.stdout.read()

    assert run.returncode == pytest.ExitCode.INTERRUPTED, rest
    for server in servers:
        wait_until_gone(server, mine)
