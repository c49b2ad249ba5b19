"""Time dilation: a simulated GPU that runs slower than real time, and its numbers as if it did not.

A machine too busy to simulate a load in real time can simulate it at a half or a quarter of its
speed: whatever server and client then need of each second, they have two or four for it. The load
is planned in the engine's time, driven in the machine's (`stretch`), and recorded in the engine's
again (`in_engine_time`). What the machine itself adds, the client's lateness and the time that its
hypervisor takes, counts in the same measure.

Source of the method: Gupta et al., "To infinity and beyond: time-warped network emulation", NSDI
2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perfgate.model import ClientAudit, LoadRun, RequestRecord, Telemetry, Workload
from perfgate.traffic.schedule import Schedule

VARIABLE = "PERFGATE_TIME_DILATION"
"""The environment variable that tells a simulated engine how much slower it is to run."""

SERIES = "perfgate_sim_time_dilation"
"""The metric by which it says so; 1 is real time."""


def dilation_of(metrics: Mapping[str, float]) -> int:
    """How much slower than real time a server runs, by its own metrics: 1 for any real engine."""
    return next((int(value) for name, value in metrics.items() if name.startswith(SERIES)), 1)


def stretch(workload: Workload, schedule: Schedule, dilation: int) -> tuple[Workload, Schedule]:
    """The load in the machine's time: what the engine's clock is to see, so many times longer."""
    if (sessions := workload.sessions) is not None:
        slow = replace(sessions, think_s=sessions.think_s * dilation)
        workload = replace(workload, sessions=slow)
    due_ns = tuple(due_ns * dilation for due_ns in schedule.due_ns)
    return workload, replace(schedule, due_ns=due_ns)


def in_engine_time(run: LoadRun, dilation: int) -> LoadRun:
    """A run whose times are the machine's, in those of its engine; the engine's own stay.

    The client's CPU and the time it ran stay the machine's: what counts is the one over the other.
    """
    if dilation == 1:
        return run
    return replace(
        run,
        time_dilation=dilation,
        marks_ns=tuple(mark_ns // dilation for mark_ns in run.marks_ns),
        records=tuple(_record(record, dilation) for record in run.records),
        audit=_audit(run.audit, dilation) if run.audit else None,
        telemetry=_telemetry(run.telemetry, dilation) if run.telemetry else None,
        server_before=_durations(run.server_before, dilation),
        server_after=_durations(run.server_after, dilation),
    )


def _record(record: RequestRecord, dilation: int) -> RequestRecord:
    return replace(
        record,
        due_ns=record.due_ns // dilation,
        sent_ns=record.sent_ns // dilation,
        finished_ns=record.finished_ns // dilation,
        arrivals_ns=tuple(arrival_ns // dilation for arrival_ns in record.arrivals_ns),
    )


def _audit(audit: ClientAudit, dilation: int) -> ClientAudit:
    return replace(
        audit,
        lag_p99_s=audit.lag_p99_s / dilation,
        lag_max_s=audit.lag_max_s / dilation,
        stolen_s=None if audit.stolen_s is None else audit.stolen_s / dilation,
        clock_uncertainty_s=audit.clock_uncertainty_s / dilation,
        workers=tuple(_audit(worker, dilation) for worker in audit.workers),
    )


def _telemetry(telemetry: Telemetry, dilation: int) -> Telemetry:
    return replace(
        telemetry,
        period_s=telemetry.period_s / dilation,
        server=tuple(
            replace(sample, at_ns=sample.at_ns // dilation) for sample in telemetry.server
        ),
        gpu=tuple(replace(sample, at_ns=sample.at_ns // dilation) for sample in telemetry.gpu),
    )


def _durations(metrics: dict[str, float], dilation: int) -> dict[str, float]:
    return {
        name: value / dilation if "_duration_us" in name else value
        for name, value in metrics.items()
    }
