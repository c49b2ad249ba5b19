"""A load client that does not get its cores is found out, on a real Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from perfgate.load.running import RunningLoad
from perfgate.measure.measure import measure
from perfgate.model import Policy, Sampling, Workload
from perfgate.serving.tokenizer import load_tokenizer, prompts
from tests.unit.factories import a_load_run, a_point

pytestmark = pytest.mark.triton

WORKLOAD = Workload(concurrency=8, isl=24, osl=24)
SAMPLING = Sampling(rounds=2, round_requests=16)
PROMPTS = prompts(load_tokenizer(), isl=24, count=120, seed=6)
HOGS = 6


@contextmanager
def crowded_core():
    """Pin this process, and what it starts, to one core that busy processes share."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        with ExitStack() as stack:
            for _ in range(HOGS):
                hog = stack.enter_context(
                    subprocess.Popen([sys.executable, "-c", "while True: pass"])
                )
                stack.callback(hog.kill)
            yield
    finally:
        os.sched_setaffinity(0, cores)


def give_way():
    """Let the workers of this process stand back: a client of eight streams needs little CPU.

    At equal weight a scheduler that is fair to sleepers wakes it in time, whatever else runs.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except OSError:
            continue  # it has ended
        if parent == os.getpid() and "perfgate.load.worker" in command:
            os.setpriority(os.PRIO_PROCESS, int(entry.name), 19)


def test_a_cpu_hog_on_the_clients_cores_is_detected(server, tmp_path):
    """The worker shares its core with busy processes: INVALID, and the reason says who was late."""
    with (
        crowded_core(),
        RunningLoad(server, WORKLOAD, PROMPTS, spool=tmp_path) as load,
    ):
        give_way()
        load.ramp_up()
        for _ in range(SAMPLING.rounds):
            load.round(SAMPLING.round_requests)
        outcome = load.finish()
    point = replace(a_point(sampling=SAMPLING), workload=WORKLOAD)
    run = a_load_run(outcome.records, marks_ns=outcome.marks_ns, point=point)
    measurement = measure(replace(run, audit=outcome.audit), Policy())

    reasons = {veto.rule: veto.message for veto in measurement.vetoes}
    assert "client-lag" in reasons
    assert "other work has its cores" in reasons["client-lag"]
    assert outcome.audit.wait_share > 0.3
