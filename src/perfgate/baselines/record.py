"""Pure: from claims and measurements to a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from perfgate.errors import BaselineError
from perfgate.gate.metrics import DECODE_STEP, PREFILL
from perfgate.model import (
    SIMULATED_SUFFIX,
    Baseline,
    Cell,
    Claim,
    Measurement,
    OperatingPoint,
    Policy,
    Precision,
    RunSample,
    differing,
)

# History: 1 - floors, ceilings, identity and samples by operating point.
SCHEMA_VERSION = 1


def empty(hardware: str, model: str, precision: Precision) -> Baseline:
    """A baseline that knows nothing yet."""
    return Baseline(
        schema_version=SCHEMA_VERSION,
        hardware=hardware,
        model=model,
        precision=precision,
        cells={},
    )


def record(
    baseline: Baseline,
    points: Iterable[OperatingPoint],
    measurements: Sequence[Measurement] = (),
    *,
    policy: Policy,
    session: str,
    commit: str,
    replace_samples: bool = False,
) -> Baseline:
    """Add claims and measured runs to `baseline`; what concerns other engines is left out.

    Floor and ceiling come from the point's claim. Without a claimed ceiling, the slowest recorded
    P95 and the policy's latency margin make one. A run that is already recorded is not added
    again. `replace_samples` forgets the earlier runs of each point that was measured.

    Raises BaselineError for a vetoed run, one too short for a P95, one from other hardware, or one
    taken under other conditions than the runs recorded before it.
    """
    cells = dict(baseline.cells)
    measured = _by_point(baseline, measurements)
    for point in _concerned(baseline, points, measured):
        runs = measured.get(point.id, [])
        cell = cells.get(point.id, Cell(source=""))
        if runs and replace_samples:
            cell = replace(cell, samples=(), identity={})
        for run in runs:
            cell = _with_run(cell, run, session=session, commit=commit)
        claim = point.claim_on(baseline.hardware)
        if claim or cell.samples:
            floor = standing_floor(baseline, point.id, claim)
            cells[point.id] = _with_limits(cell, claim, policy, floor)
    return replace(baseline, cells=cells)


def derived_cell(baseline: Baseline, point: OperatingPoint, policy: Policy) -> Cell:
    """The cell of a point with its limits derived anew from claim, runs and entries."""
    claim = point.claim_on(baseline.hardware)
    floor = standing_floor(baseline, point.id, claim)
    return _with_limits(baseline.cells[point.id], claim, policy, floor)


def standing_floor(baseline: Baseline, cell: str, claim: Claim | None) -> float | None:
    """The floor of a cell by its claim, its ratchets and its ledger; the last entry counts.

    A ratchet raises what was claimed; a lowering after it lowers that.
    """
    raised = [(one.accepted_at, one.floor_tok_s) for one in baseline.ratchets if one.cell == cell]
    lowered = [(one.lowered_at, one.floor_tok_s) for one in baseline.ledger if one.cell == cell]
    claimed = claim.floor_tok_s if claim else None
    return max([*raised, *lowered])[1] if raised or lowered else claimed


def sample(measurement: Measurement, *, session: str, commit: str) -> RunSample:
    """What a baseline keeps of one run, to six significant digits."""
    p95 = measurement.latency_s.p95
    if p95 is None:
        msg = (
            f"{measurement.point.id}: {measurement.latency_s.n} requests hold no P95 latency. "
            "Raise rounds or round_requests of the point in points.toml and measure again."
        )
        raise BaselineError(msg)
    return RunSample(
        session=session,
        measured_at=measurement.started_at,
        commit=commit,
        requests=measurement.requests,
        throughput_tok_s=_digits(measurement.throughput_tok_s),
        latency_p50_s=_digits(measurement.latency_s.p50),
        latency_p95_s=_digits(p95),
        ttft_p50_s=_digits(measurement.ttft_s.p50),
        tpot_p50_s=_digits(measurement.tpot_s.p50) if measurement.tpot_s else None,
        prefill_s=_known_digits(PREFILL.read(measurement)),
        decode_step_s=_known_digits(DECODE_STEP.read(measurement)),
    )


def require_same_hardware(hardware: str, measurement: Measurement) -> None:
    """Raise BaselineError unless a measurement may be held against baselines of `hardware`."""
    got = measurement.fingerprint
    if got.simulated != hardware.endswith(SIMULATED_SUFFIX) or got.hardware != hardware:
        kind = "simulated" if got.simulated else "real"
        msg = (
            f"{measurement.point.id} was measured on {kind} {got.hardware}, the baseline is for "
            f"{hardware}. Each kind of hardware has a baseline of its own, and simulated "
            f"hardware one that ends in {SIMULATED_SUFFIX}."
        )
        raise BaselineError(msg)


def _concerned(
    baseline: Baseline, points: Iterable[OperatingPoint], measured: dict[str, list[Measurement]]
) -> list[OperatingPoint]:
    by_id = {runs[0].point.id: runs[0].point for runs in measured.values()}
    by_id |= {point.id: point for point in points}
    return [point for point in by_id.values() if point.gated and _belongs(baseline, point)]


def _belongs(baseline: Baseline, point: OperatingPoint) -> bool:
    return (point.engine.model, point.engine.precision) == (baseline.model, baseline.precision)


def _by_point(
    baseline: Baseline, measurements: Sequence[Measurement]
) -> dict[str, list[Measurement]]:
    grouped: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.point.gated and _belongs(baseline, measurement.point):
            require_same_hardware(baseline.hardware, measurement)
            grouped.setdefault(measurement.point.id, []).append(measurement)
    return grouped


def _with_run(cell: Cell, run: Measurement, *, session: str, commit: str) -> Cell:
    _require_sound(run)
    _require_same_conditions(cell, run)
    new = sample(run, session=session, commit=commit)
    samples = cell.samples if new in cell.samples else (*cell.samples, new)
    return replace(cell, samples=samples, identity=dict(run.fingerprint.identity))


def _with_limits(cell: Cell, claim: Claim | None, policy: Policy, floor: float | None) -> Cell:
    claimed = claim.ceiling_p95_s if claim else None
    derived = _derived_ceiling(cell.samples, policy.latency_margin)
    sources = [claim.source] if claim else []
    if floor is not None and floor != (claim.floor_tok_s if claim else None):
        sources.append("floor: the last accepted or lowered one of this file")
    if claimed is None and derived is not None:
        sources.append(f"ceiling: slowest recorded P95 and {policy.latency_margin:.0%} on top")
    return replace(
        cell,
        floor_tok_s=floor,
        ceiling_p95_s=claimed or derived,
        source="; ".join(sources),
    )


def _derived_ceiling(samples: Sequence[RunSample], margin: float) -> float | None:
    if not samples:
        return None
    return _rounded_up(max(sample.latency_p95_s for sample in samples) * (1 + margin))


def _require_sound(run: Measurement) -> None:
    if run.vetoes:
        reasons = "; ".join(veto.message for veto in run.vetoes)
        msg = (
            f"{run.point.id}: this run is invalid and cannot be a baseline: {reasons}. "
            "Remove the cause and measure again."
        )
        raise BaselineError(msg)


def _require_same_conditions(cell: Cell, run: Measurement) -> None:
    unlike = differing(run.fingerprint.identity, cell.identity)
    if cell.samples and unlike:
        msg = (
            f"{run.point.id}: the recorded runs were taken under other conditions"
            f" ({'; '.join(unlike)}). Use --replace to start over with this run."
        )
        raise BaselineError(msg)


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def _known_digits(value: float | None) -> float | None:
    return None if value is None else _digits(value)


def _rounded_up(value: float) -> float:
    """Up to two significant digits: 6.93 becomes 7.0, 0.512 becomes 0.52."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.2g}")
