"""A load in virtual time as the load client would have recorded it: measured like any other."""

from __future__ import annotations

from bisect import bisect_right
from itertools import count

from perfgate.hardware import HardwareProfile
from perfgate.model import (
    ClientAudit,
    Fingerprint,
    LoadRun,
    OperatingPoint,
    RequestStatus,
    ServerSample,
    Target,
    Telemetry,
)
from perfgate.sim.steps import SchedulerStats
from perfgate.sim.virtual import VirtualRun, simulate

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
    point: OperatingPoint, profile: HardwareProfile, fingerprint: Fingerprint, *, started_at: str
) -> LoadRun:
    """Simulate the point's ramp and rounds; the run has a virtual server's telemetry.

    The client has no faults of its own, since it is not there. Raises UsageError for a profile
    that cannot be simulated.
    """
    load, sampling = point.workload, point.sampling
    needed = sampling.ramp * load.concurrency + sampling.rounds * sampling.round_requests
    batch = min(load.concurrency, point.engine.max_batch_size)
    # A mark lies after all requests that end in its iteration: seldom more than a few, at most a
    # whole batch, and then at every mark.
    for slack in (batch, (sampling.rounds + 1) * batch):
        watch = _Samples()
        run = simulate(
            point.engine, point.serving, load, profile, requests=needed + slack, watch=watch
        )
        marks = _marks(run, point)
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
        hardware=f"{profile.name}-sim",
        target=Target.SIM,
        simulated=True,
        identity={
            "hardware": f"{profile.name}-sim",
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


def _marks(run: VirtualRun, point: OperatingPoint) -> tuple[int, ...]:
    """When the ramp and each round were over, as far as the run goes."""
    sampling = point.sampling
    ended = sorted(one.finished_ns for one in run.records if one.status is RequestStatus.OK)
    marks = [ended[sampling.ramp * point.workload.concurrency - 1]]
    for _ in range(sampling.rounds):
        last = bisect_right(ended, marks[-1]) + sampling.round_requests - 1
        if last < len(ended):
            marks.append(ended[last])
    return tuple(marks)


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
