"""A load in virtual time as the load client would have recorded it: measured like any other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from perfgate.hardware import HardwareProfile
from perfgate.model import (
    SIMULATED_SUFFIX,
    ClientAudit,
    Fingerprint,
    LoadRun,
    OperatingPoint,
    ServerSample,
    Target,
    Telemetry,
)
from perfgate.sim.steps import SchedulerStats
from perfgate.sim.virtual import simulate
from perfgate.traffic.rounds import find_marks
from perfgate.traffic.schedule import ramp_requests
from perfgate.traffic.trace import TraceRow

SAMPLED_ITERATIONS = 8
"""How often the scheduler is looked at: several times a request, a hundred times a window."""

_NO_CLIENT = ClientAudit(
    cpu_s=0.0,
    wall_s=0.0,
    messages=0,
    lag_p99_s=0.0,
    lag_max_s=0.0,
    late_sends=0,
    involuntary_switches=0,
)


def virtual_load(
    point: OperatingPoint,
    profile: HardwareProfile,
    fingerprint: Fingerprint,
    *,
    started_at: str,
    trace: Sequence[TraceRow] = (),
) -> LoadRun:
    """Simulate the point's ramp and rounds; the run has a virtual server's telemetry.

    `trace` holds the rows of a replay. The client has no faults of its own, since it is not there.
    Raises UsageError for a profile that cannot be simulated.
    """
    load, sampling = point.workload, point.sampling
    clients = load.concurrency if load.arrivals is None else None
    ramp = ramp_requests(load, sampling)
    rounds = [sampling.round_requests] * sampling.rounds
    needed = ramp * (clients or 1) + sum(rounds)
    batch = min(load.concurrency, point.engine.max_batch_size)
    # A mark lies after all requests that end in its iteration: seldom more than a few, at most a
    # whole batch, and then at every mark. Fast clients end more than their ramp.
    most = (sampling.rounds + 1) * batch + 2 * clients if clients else load.concurrency
    for slack in (batch, most):
        watch = _Samples()
        run = simulate(
            point.engine,
            point.serving,
            load,
            profile,
            requests=needed + slack,
            watch=watch,
            trace=trace,
        )
        marks = find_marks(run.records, clients, rounds, ramp=ramp)
        if len(marks) > sampling.rounds:
            break
    return LoadRun(
        point=point,
        fingerprint=fingerprint,
        started_at=started_at,
        marks_ns=marks,
        records=run.records,
        audit=_NO_CLIENT,
        telemetry=Telemetry(
            period_s=SAMPLED_ITERATIONS * run.busy_ns / run.steps / 1e9, server=tuple(watch.taken)
        ),
    )


def virtual_fingerprint(
    point: OperatingPoint, profile: HardwareProfile, digest: str, *, version: str
) -> Fingerprint:
    """What must agree between two virtual runs; `digest` names the profile's content.

    `clock` is what a run behind a server lacks: the two are never taken for one another.
    """
    load = point.workload
    return Fingerprint(
        hardware=profile.name + SIMULATED_SUFFIX,
        target=Target.SIM,
        simulated=True,
        identity={
            "hardware": profile.name + SIMULATED_SUFFIX,
            "target": Target.SIM,
            "clock": "virtual",
            "concurrency": str(load.concurrency),
            "isl": str(load.isl),
            "osl": str(load.osl),
        },
        context={
            "engine_name": point.engine.name,
            "profile": digest,
            "version.perfgate": version,
        },
    )


class _Samples:
    """Looks at the scheduler every so often."""

    def __init__(self) -> None:
        self.taken: list[ServerSample] = []
        self._iterations = count()

    def __call__(self, now_ns: int, stats: SchedulerStats) -> None:
        if next(self._iterations) % SAMPLED_ITERATIONS:
            return
        self.taken.append(
            ServerSample(
                at_ns=now_ns,
                kv_cache=stats.kv_blocks_used / stats.kv_blocks_max,
                active=stats.active,
                waiting=stats.waiting,
            )
        )
