"""An operating point under its own load in virtual time, measured as a real run is."""

from __future__ import annotations

from collections.abc import Sequence

from perfgate.hardware import HardwareProfile
from perfgate.measure.measure import measure
from perfgate.model import (
    ClientAudit,
    Distribution,
    Fingerprint,
    LoadRun,
    Measurement,
    OperatingPoint,
    PartMeasurement,
    Policy,
    Target,
)
from perfgate.report.columns import aligned
from perfgate.sim.virtual import TURNAROUND_S, simulate
from perfgate.traffic.rounds import find_marks
from perfgate.traffic.schedule import ramp_requests
from perfgate.traffic.trace import TraceRow

# In virtual time no client is late, and none costs anything.
_NO_FAILINGS = ClientAudit(
    cpu_s=0.0,
    wall_s=0.0,
    messages=0,
    lag_p99_s=0.0,
    lag_max_s=0.0,
    late_sends=0,
    involuntary_switches=0,
)
_HEADINGS = (
    "point",
    "requests",
    "tok/s",
    "TTFT P50",
    "P95 s",
    "latency P50",
    "P95 s",
    "ITL P50",
    "P99 ms",
    "",
)


def measure_virtually(
    point: OperatingPoint,
    profile: HardwareProfile,
    policy: Policy,
    *,
    trace: Sequence[TraceRow] = (),
    turnaround_s: float = TURNAROUND_S,
) -> Measurement:
    """Drive a point's load in virtual time for its rounds, and measure them.

    `trace` holds the rows of a replay. Rounds end by count: no time limit, no early stop.
    """
    return measure(drive_virtually(point, profile, trace=trace, turnaround_s=turnaround_s), policy)


def drive_virtually(
    point: OperatingPoint,
    profile: HardwareProfile,
    *,
    trace: Sequence[TraceRow] = (),
    turnaround_s: float = TURNAROUND_S,
) -> LoadRun:
    """What a point's load leaves behind in virtual time."""
    load, sampling = point.workload, point.sampling
    clients = load.concurrency if load.arrivals is None else None
    ramp = ramp_requests(load, sampling)
    rounds = [sampling.round_requests] * sampling.rounds
    # Fast clients end more than their ramp, and several requests may end in one iteration.
    spare = (ramp + 2) * clients if clients else ramp + load.concurrency
    run = simulate(
        point.engine,
        point.serving,
        load,
        profile,
        requests=spare + sum(rounds),
        turnaround_s=turnaround_s,
        trace=trace,
    )
    return LoadRun(
        point=point,
        fingerprint=Fingerprint(hardware=f"{profile.name}-sim", target=Target.SIM, simulated=True),
        started_at="",
        marks_ns=find_marks(run.records, clients, rounds, ramp=ramp),
        records=run.records,
        audit=_NO_FAILINGS,
    )


def loads_text(hardware: str, measured: Sequence[Measurement]) -> str:
    """Render virtual measurements as plain text, a line each, and one for each part of a mix."""
    rows = [row for one in measured for row in _rows(one)]
    notes = [f"{m.point.id}: {veto.message}" for m in measured for veto in m.vetoes]
    return "\n".join([f"SIMULATED {hardware}", "", *aligned(_HEADINGS, rows), *notes]) + "\n"


def _rows(measured: Measurement) -> list[tuple[str, ...]]:
    told = f"{measured.throughput_tok_s:.0f}"
    said = measured.point.workload.label + (", not judged" if measured.vetoes else "")
    parts = [(f"  {part.name}", *_cells(part, ""), "") for part in measured.parts]
    return [(measured.point.id, *_cells(measured, told), said), *parts]


def _cells(measured: Measurement | PartMeasurement, throughput: str) -> tuple[str, ...]:
    return (
        str(measured.requests),
        throughput,
        *_quantiles(measured.ttft_s, 3),
        *_quantiles(measured.latency_s, 2),
        f"{measured.itl_s.p50 * 1e3:.1f}" if measured.itl_s else "-",
        f"{measured.itl_s.p99 * 1e3:.1f}" if measured.itl_s and measured.itl_s.p99 else "-",
    )


def _quantiles(sample: Distribution, digits: int) -> tuple[str, str]:
    p95 = "-" if sample.p95 is None else f"{sample.p95:.{digits}f}"
    return f"{sample.p50:.{digits}f}", p95
