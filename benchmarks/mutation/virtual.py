"""One engine under load in virtual time, as the load client would have recorded it."""

from __future__ import annotations

from dataclasses import replace

from mutation.mutants import LONG, MAIN, TIGHT, Mutant, coalesced
from perfgate.hardware import HardwareProfile
from perfgate.measure.measure import measure
from perfgate.model import (
    ClientAudit,
    Fingerprint,
    LoadRun,
    Measurement,
    OperatingPoint,
    Policy,
    RequestStatus,
    Sampling,
    Target,
)
from perfgate.sim.cost import cost_model
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.virtual import TURNAROUND_S, run_load

ROUNDS, ROUND_REQUESTS = 8, 150
_SPARE = 10  # requests that end in the very step of a mark belong to the round before it


def points(main: OperatingPoint) -> dict[str, OperatingPoint]:
    """The operating points the mutants are tried at."""
    sampling = Sampling(rounds=ROUNDS, round_requests=ROUND_REQUESTS)
    main = replace(main, sampling=sampling)
    long = replace(main.workload, isl=1024, osl=64, concurrency=64)
    tight = replace(main.serving, kv_cache_tokens=20_480)
    return {
        MAIN: main,
        LONG: replace(main, id=LONG, workload=long),
        TIGHT: replace(main, id=TIGHT, serving=tight),
    }


def load_run(point: OperatingPoint, profile: HardwareProfile, mutant: Mutant | None) -> LoadRun:
    """Drive the engine of a point, changed by `mutant`, and keep what the client saw."""
    change = mutant or Mutant("none")
    engine = replace(point.engine, **change.engine)
    serving = replace(point.serving, **change.serving)
    clients = point.workload.concurrency
    run = run_load(
        Scheduler(engine, serving, vocab_size=profile.require_simulation().model.vocab),
        change.cost(cost_model(profile, engine).step_seconds),
        point.workload,
        requests=2 * clients + ROUNDS * (ROUND_REQUESTS + _SPARE),
        turnaround_s=TURNAROUND_S + change.turnaround_s,
    )
    ends = sorted(
        record.finished_ns
        for record in run.records
        if record.status is RequestStatus.OK and record.finished_ns >= run.steady_ns
    )
    return LoadRun(
        point=point,
        fingerprint=fingerprint(point),
        started_at="2026-01-01T00:00:00+00:00",
        marks_ns=tuple(ends[i * (ROUND_REQUESTS + _SPARE)] for i in range(ROUNDS + 1)),
        records=tuple(coalesced(record, change.coalesce) for record in run.records),
        audit=audit(),
    )


def fingerprint(point: OperatingPoint) -> Fingerprint:
    """Virtual hardware."""
    return Fingerprint(
        hardware="gb10-sim",
        target=Target.SIM,
        simulated=True,
        identity={"concurrency": str(point.workload.concurrency)},
    )


def audit() -> ClientAudit:
    """A client without failings: in virtual time there is none."""
    return ClientAudit(
        cpu_s=1.0,
        wall_s=20.0,
        messages=1,
        lag_p99_s=0.0,
        lag_max_s=0.0,
        late_sends=0,
        involuntary_switches=0,
    )


def measured(run: LoadRun) -> Measurement:
    """The measurement of a run by the default policy."""
    return measure(run, Policy())
