"""Several workers on a real Triton: one load, to the token, by the server's own counters."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from perfgate.load.fleet import here
from perfgate.load.running import RunningLoad
from perfgate.measure.measure import measure
from perfgate.model import Policy, RequestStatus, Sampling, Workload
from perfgate.rig import SETTLE_S
from perfgate.serving.metrics import scrape
from perfgate.serving.tokenizer import load_tokenizer, prompts
from tests.unit.factories import a_load_run, a_point

pytestmark = pytest.mark.triton

WORKLOAD = Workload(concurrency=8, isl=24, osl=16)
SAMPLING = Sampling(rounds=2, round_requests=16)
PROMPTS = prompts(load_tokenizer(), isl=24, count=120, seed=7)


@pytest.mark.parametrize("workers", [1, 3])
def test_client_and_server_count_the_same(server, tmp_path, workers):
    """However many workers send, Triton's tokens and requests are those of the merged records."""
    time.sleep(SETTLE_S)  # what an earlier test asked for may just have been answered
    before = scrape(server.metrics_url)
    with RunningLoad(server, WORKLOAD, PROMPTS, spool=tmp_path, crew=here(workers)) as load:
        load.ramp_up()
        for _ in range(SAMPLING.rounds):
            load.round(SAMPLING.round_requests)
        outcome = load.finish()
    point = replace(a_point(sampling=SAMPLING), workload=WORKLOAD)
    run = replace(
        a_load_run(outcome.records, marks_ns=outcome.marks_ns, point=point), server_before=before
    )
    for _ in range(10):  # on a busy machine Triton counts an answer after it was heard
        time.sleep(SETTLE_S)
        run = replace(run, server_after=scrape(server.metrics_url))
        if not counts_apart(run):
            break
    lossy = replace(run, records=run.records[1:])

    assert {record.status for record in run.records} == {RequestStatus.OK}
    assert {record.client for record in run.records} == set(range(WORKLOAD.concurrency))
    assert not counts_apart(run)
    assert counts_apart(lossy) == {"server-tokens", "server-requests"}


def counts_apart(run):
    """Which of the server's counters do not agree with the records."""
    vetoes = measure(run, Policy()).vetoes
    return {veto.rule for veto in vetoes} & {"server-tokens", "server-requests"}
