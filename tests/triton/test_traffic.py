"""Loads of other shapes on a real Triton: what they do there they do in virtual time as well."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perfgate import tries
from perfgate.hardware import load_profile
from perfgate.load.planner import prompts_needed
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Receiver
from perfgate.measure.measure import measure
from perfgate.measure.validity import only_disturbed
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Fingerprint,
    Length,
    LengthClass,
    LoadRun,
    OperatingPoint,
    Phase,
    Policy,
    RequestStatus,
    Sampling,
    Sessions,
    Target,
    Workload,
)
from perfgate.records import read_run
from perfgate.rig import Rig
from perfgate.serving.tokenizer import draw_prompts, load_tokenizer
from perfgate.setting import Setting
from perfgate.sim.loads import measure_virtually
from perfgate.suite import load_suite
from perfgate.traffic.schedule import plan_schedule, ramp_requests
from tests.triton.conftest import ROOT, SERVING, SPEC, Silent

pytestmark = pytest.mark.triton

PROFILE = load_profile(Path(ROOT) / "hardware" / "gb10.toml")
SIM = Fingerprint(hardware="gb10-sim", target=Target.SIM, simulated=True)


def fixed(tokens):
    """A length that does not vary."""
    return Length(least=tokens, most=tokens)


MIX = (
    LengthClass(name="short", share=0.9, isl=fixed(64), osl=fixed(32)),
    LengthClass(name="long", share=0.1, isl=fixed(1024), osl=fixed(16)),
)
POISSON = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=8.0)
LOADS = {
    "poisson": Workload(concurrency=64, isl=64, osl=32, seed=1, arrivals=POISSON),
    "mixed": Workload(concurrency=64, isl=1024, osl=32, seed=1, arrivals=POISSON, mix=MIX),
}


def a_point(load, **sampling):
    """This load on the engine that the server runs."""
    sizes = {"rounds": 2, "round_requests": 50} | sampling
    return OperatingPoint(
        id="shape", engine=SPEC, serving=SERVING, workload=load, sampling=Sampling(**sizes)
    )


def drive(server, point, spool, receiver=Receiver.FAST):
    """Put the point's load on the server."""
    load, sampling = point.workload, point.sampling
    schedule = plan_schedule(load, prompts_needed(load, sampling))
    texts = draw_prompts(load_tokenizer(), schedule.isl, seed=load.seed, turns=load.turns)
    ramp = ramp_requests(load, sampling)
    with RunningLoad(
        server, load, texts, spool=spool, schedule=schedule, ramp=ramp, receiver=receiver
    ) as running:
        running.ramp_up()
        for _ in range(sampling.rounds):
            running.round(sampling.round_requests, sampling.round_seconds)
        outcome = running.finish()
    assert outcome.faults == ()
    return LoadRun(
        point=point,
        fingerprint=SIM,
        started_at="",
        marks_ns=outcome.marks_ns,
        records=outcome.records,
        audit=outcome.audit,
    )


def measured(server, point, spool):
    """The point's run and its measurement, once more if other work disturbed the first."""
    for _ in range(2):
        run = drive(server, point, spool)
        found = measure(run, Policy())
        if not only_disturbed(found.vetoes):
            break
    return run, found


@pytest.mark.parametrize("shape", LOADS)
def test_real_and_virtual_time_agree(server, tmp_path, shape):
    """Throughput within 2 %, P95 latency within 5 %: the same schedule meets the same engine."""
    point = a_point(LOADS[shape])
    _, real = measured(server, point, tmp_path)
    virtual = measure_virtually(point, PROFILE, Policy())

    assert real.vetoes == virtual.vetoes == ()
    assert real.throughput_tok_s == pytest.approx(virtual.throughput_tok_s, rel=0.02)
    assert real.latency_s.p95 == pytest.approx(virtual.latency_s.p95, rel=0.05)
    assert [part.name for part in real.parts] == [part.name for part in virtual.parts]


@pytest.mark.parametrize("shape", ["poisson", "closed"])
def test_a_slower_engine_measures_the_same(tmp_path, monkeypatch, shape):
    """At half the speed, closed loop or open, its numbers are those of virtual time too."""
    monkeypatch.setattr(tries, "_SIMULATED_TRIES", (2, 4))
    closed = Workload(concurrency=16, isl=64, osl=32, seed=1)
    point = a_point((LOADS | {"closed": closed})[shape])
    suite = replace(load_suite(ROOT), root=tmp_path)
    artifacts = tmp_path / "artifacts"
    setting = Setting(suite=suite, target=Target.SIM, profile=PROFILE, artifacts=artifacts)
    with Rig(setting, Silent()) as rig:
        real = rig.measure(point)
        run = read_run(rig.records / "shape.jsonl.gz")
    virtual = measure_virtually(point, PROFILE, Policy())

    assert run.time_dilation in {2, 4}
    assert real.vetoes == ()
    assert real.throughput_tok_s == pytest.approx(virtual.throughput_tok_s, rel=0.02)
    assert real.latency_s.p95 == pytest.approx(virtual.latency_s.p95, rel=0.05)
    assert real.ttft_s.p50 == pytest.approx(virtual.ttft_s.p50, rel=0.1)
    assert real.attribution.phases_s[Phase.DECODE] == pytest.approx(
        virtual.attribution.phases_s[Phase.DECODE], rel=0.02
    )


@pytest.mark.parametrize("receiver", list(Receiver), ids=str)
def test_requests_are_due_when_the_schedule_says(server, tmp_path, receiver):
    """Both receivers send each request once, in order, never before it is due."""
    point = a_point(LOADS["poisson"], rounds=1, round_requests=20)
    run = drive(server, point, tmp_path, receiver)
    records = sorted(run.records, key=lambda record: record.index)
    planned = plan_schedule(point.workload, len(records)).due_ns

    assert [record.index for record in records] == list(range(len(records)))
    assert {record.status for record in records} == {RequestStatus.OK}
    start_ns = records[0].due_ns - planned[0]
    assert [record.due_ns - start_ns for record in records] == list(planned)
    assert all(record.sent_ns >= record.due_ns for record in records)


def test_a_rate_beyond_the_server_is_a_backlog(server, tmp_path):
    """Twice what the engine takes: no latency is told as if there were one."""
    arrivals = replace(POISSON, process=ArrivalProcess.CONSTANT, requests_per_s=30.0)
    load = replace(LOADS["poisson"], concurrency=128, arrivals=arrivals)
    found = measure(drive(server, a_point(load), tmp_path), Policy())

    assert "backlog" in {veto.rule for veto in found.vetoes}


def test_a_conversation_waits_for_its_answers_and_thinks(server, tmp_path):
    """Each turn's prompt is as long as the conversation so far, by the server's own count."""
    sessions = Sessions(turns=3, think_s=0.05)
    load = Workload(concurrency=4, isl=24, osl=8, seed=2, sessions=sessions)
    run, found = measured(server, a_point(load, rounds=1, round_requests=24), tmp_path)
    counted = {r.index % 3: r.input_tokens for r in run.records if r.input_tokens is not None}

    assert counted == {0: 24, 1: 56, 2: 88}
    assert found.vetoes == ()
    for client in range(4):
        mine = [record for record in run.records if record.client == client]
        for before, after in pairwise(mine):
            assert after.due_ns == before.finished_ns + 50_000_000
