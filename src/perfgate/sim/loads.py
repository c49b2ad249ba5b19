"""An operating point under its own load in virtual time, measured as a real run is."""

from __future__ import annotations

from collections.abc import Sequence

from perfgate.hardware import HardwareProfile
from perfgate.measure.measure import measure
from perfgate.model import (
    SIMULATED_SUFFIX,
    Distribution,
    Fingerprint,
    Measurement,
    OperatingPoint,
    PartMeasurement,
    Policy,
    Target,
)
from perfgate.report.columns import aligned
from perfgate.sim.virtual_load import virtual_load
from perfgate.traffic.trace import TraceRow

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
) -> Measurement:
    """Drive a point's load in virtual time for its rounds, and measure them.

    `trace` holds the rows of a replay. Rounds end by count: no time limit, no early stop.
    """
    name = profile.name + SIMULATED_SUFFIX
    known = Fingerprint(hardware=name, target=Target.SIM, simulated=True)
    return measure(virtual_load(point, profile, known, started_at="", trace=trace), policy)


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
