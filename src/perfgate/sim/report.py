"""What `perfgate simulate` says: reference points with residuals, and the concurrency sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perfgate.errors import UsageError
from perfgate.hardware import CostParameters, HardwareProfile
from perfgate.model import OperatingPoint
from perfgate.report.columns import aligned
from perfgate.sim.fit import reference_points
from perfgate.sim.roofline import roofline
from perfgate.sim.virtual import (
    LEAST_FOR_P95,
    TURNAROUND_S,
    SteadyState,
    simulate,
    steady_state,
)

SWEEP_CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRow:
    """One reference point: what was reported, what the simulation makes of it."""

    point: str
    reported_tok_s: float
    simulated_tok_s: float
    residual: float
    floor_tok_s: float | None
    floor_met: bool | None
    latency_p95_s: float | None
    ceiling_p95_s: float | None
    ceiling_met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One concurrency of the sweep; `roofline_tok_s` is what perfect kernels would reach."""

    concurrency: int
    throughput_tok_s: float
    latency_p50_s: float
    latency_p95_s: float | None
    roofline_tok_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """A hardware profile's simulation in numbers; every one of them is simulated."""

    hardware: str
    engine: str
    step_time_factor: float
    turnaround_s: float
    parameters: CostParameters
    references: tuple[ReferenceRow, ...]
    sweep: tuple[SweepRow, ...]


def simulation_report(
    profile: HardwareProfile,
    points: Sequence[OperatingPoint],
    *,
    concurrencies: Sequence[int] = SWEEP_CONCURRENCIES,
) -> SimulationReport:
    """Simulate the profile's reference points and sweep the engine of the busiest of them."""
    references = reference_points(profile, points)
    if not references:
        raise UsageError("simulation.reference", "nothing", "it must name operating points")
    busiest = max((point for point, _ in references), key=lambda p: p.workload.concurrency)
    simulation = profile.require_simulation()
    return SimulationReport(
        hardware=profile.name,
        engine=busiest.engine.name,
        step_time_factor=simulation.step_time_factor,
        turnaround_s=TURNAROUND_S,
        parameters=simulation.parameters,
        references=tuple(_reference_row(profile, *reference) for reference in references),
        sweep=tuple(_sweep_row(profile, busiest, concurrency) for concurrency in concurrencies),
    )


def simulate_point(profile: HardwareProfile, point: OperatingPoint) -> SteadyState:
    """Steady state of one operating point, over enough requests for a P95."""
    concurrency = point.workload.concurrency
    run = simulate(
        point.engine,
        point.serving,
        point.workload,
        profile,
        requests=2 * concurrency + max(2 * concurrency, LEAST_FOR_P95),
    )
    return steady_state(run)


def _reference_row(
    profile: HardwareProfile, point: OperatingPoint, reported_tok_s: float
) -> ReferenceRow:
    steady = simulate_point(profile, point)
    claim = point.claim_on(profile.name)
    floor = claim.floor_tok_s if claim else None
    ceiling = claim.ceiling_p95_s if claim else None
    p95 = steady.latency_p95_s
    return ReferenceRow(
        point=point.id,
        reported_tok_s=reported_tok_s,
        simulated_tok_s=steady.throughput_tok_s,
        residual=steady.throughput_tok_s / reported_tok_s - 1,
        floor_tok_s=floor,
        floor_met=None if floor is None else steady.throughput_tok_s >= floor,
        latency_p95_s=p95,
        ceiling_p95_s=ceiling,
        ceiling_met=None if ceiling is None or p95 is None else p95 <= ceiling,
    )


def _sweep_row(profile: HardwareProfile, point: OperatingPoint, concurrency: int) -> SweepRow:
    workload = dataclasses.replace(point.workload, concurrency=concurrency)
    steady = simulate_point(profile, dataclasses.replace(point, workload=workload))
    return SweepRow(
        concurrency=concurrency,
        throughput_tok_s=steady.throughput_tok_s,
        latency_p50_s=steady.latency_p50_s,
        latency_p95_s=steady.latency_p95_s,
        roofline_tok_s=roofline(profile, point.engine, workload).tok_s,
    )


_REFERENCE_HEADINGS = (
    "point",
    "reported",
    "tok/s",
    "residual",
    "floor",
    "",
    "P95 s",
    "ceiling",
    "",
)
_SWEEP_HEADINGS = ("concurrency", "tok/s", "P50 s", "P95 s", "of roofline")
_PARAMETER_HEADINGS = ("parameter", "value", "low", "high", "", "unit")

# --- Text -------------------------------------------------------------------------------------


def report_text(report: SimulationReport) -> str:
    """Render the report as plain text, tables aligned for a fixed-width font."""
    return "\n".join(_lines(report)) + "\n"


def parameters_text(parameters: CostParameters) -> str:
    """Render the cost model's parameters with their bounds."""
    return "\n".join(aligned(_PARAMETER_HEADINGS, _parameter_cells(parameters))) + "\n"


def _lines(report: SimulationReport) -> Iterator[str]:
    yield f"SIMULATED {report.hardware}, client and server turnaround {report.turnaround_s:g} s"
    if report.step_time_factor != 1:
        yield f"a slowdown is planted: every step takes {report.step_time_factor:g} times as long"
    yield ""
    yield from aligned(_REFERENCE_HEADINGS, [_reference_cells(row) for row in report.references])
    yield ""
    yield f"sweep of {report.engine}"
    yield from aligned(_SWEEP_HEADINGS, [_sweep_cells(row) for row in report.sweep])
    yield ""
    yield from aligned(_PARAMETER_HEADINGS, _parameter_cells(report.parameters))


def _reference_cells(row: ReferenceRow) -> tuple[str, ...]:
    return (
        row.point,
        f"{row.reported_tok_s:.0f}",
        f"{row.simulated_tok_s:.1f}",
        f"{row.residual:+.1%}",
        _number(row.floor_tok_s, 0),
        _met(row.floor_met),
        _number(row.latency_p95_s, 2),
        _number(row.ceiling_p95_s, 2),
        _met(row.ceiling_met),
    )


def _sweep_cells(row: SweepRow) -> tuple[str, ...]:
    return (
        str(row.concurrency),
        f"{row.throughput_tok_s:.1f}",
        f"{row.latency_p50_s:.2f}",
        _number(row.latency_p95_s, 2),
        f"{row.throughput_tok_s / row.roofline_tok_s:.0%}",
    )


def _parameter_cells(parameters: CostParameters) -> list[tuple[str, ...]]:
    named = [(f.name, getattr(parameters, f.name)) for f in dataclasses.fields(parameters)]
    return [
        (name, f"{p.value:.4g}", f"{p.low:g}", f"{p.high:g}", _origin(p.fitted), p.unit)
        for name, p in named
    ]


def _origin(fitted: bool) -> str:  # noqa: FBT001 - one flag, named at the call
    return "fitted" if fitted else "fixed"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _met(met: bool | None) -> str:  # noqa: FBT001 - three-valued: None is "nothing to meet"
    return {None: "", True: "met", False: "MISSED"}[met]
