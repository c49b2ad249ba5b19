"""The runner of a paired job: starts the server that the state machine asks for, and measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perfgate import codec
from perfgate.calibration import Calibration
from perfgate.errors import PerfGateError, UsageError
from perfgate.gate import unmeasured
from perfgate.gate.boundaries import stored
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.paired_judgement import PAIRED, judge_pairs
from perfgate.gate.pairing import Arm, Go, PairedPlan, Start, next_step
from perfgate.gate.series import Rules
from perfgate.measure.validity import other_work
from perfgate.model import Judgement, Measurement, OperatingPoint, PairedPolicy, Policy

PAIRS = "pairs.json"
SCHEMA_VERSION = 1


class Measuring(Protocol):
    """What the runner needs of a rig."""

    def measure(self, point: OperatingPoint) -> Measurement:
        """Measure one point on a server of this rig's own."""


OpenRig = Callable[[Arm, int], AbstractContextManager[Measuring]]
"""Open a fresh rig for an arm; the number is that of the start, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsFile:
    """pairs.json: what a paired job was about and every start of it; enough to judge it again."""

    schema_version: int = SCHEMA_VERSION
    base: str
    plan: PairedPlan
    history: tuple[Start, ...]


def rules_of(plan: PairedPlan) -> Rules:
    """The rules of a plan: its limits and the stored lines."""
    lines = stored()
    return Rules(
        tolerance=plan.tolerance,
        margin=plan.margin,
        own=plan.own,
        boundaries=lines,
        most_pairs=lines.design.last_look,
    )


def plan_of(
    policy: PairedPolicy,
    calibration: Calibration,
    sessions: Mapping[str, tuple[float, ...]] | None = None,
) -> PairedPlan:
    """Plan a job by the policy's cells and what the host was calibrated with.

    `sessions` holds the stored values of cells that may be screened. Raises UsageError for a cell
    that was not calibrated: nothing could be said of the error on it.
    """
    cells = (*policy.primary, *policy.secondary)
    for cell in cells:
        if cell not in calibration.pair_sd:
            rule = "it has no calibration on this hardware; run: perfgate calibrate"
            raise UsageError("paired cell", cell, rule)
    return PairedPlan(
        primary=policy.primary,
        secondary=policy.secondary,
        pair_sd={cell: calibration.pair_sd[cell] for cell in cells},
        stored=dict(sessions or {}),
        tolerance=policy.tolerance,
        margin=policy.margin,
        own=policy.own,
        budget_minutes=policy.budget_minutes,
    )


def plan_of_windows(policy: PairedPolicy) -> PairedPlan:
    """Plan a comparison of two servers that stay up, which decides nothing."""
    return PairedPlan(
        primary=policy.primary,
        secondary=policy.secondary,
        pair_sd={},
        tolerance=policy.tolerance,
        margin=policy.margin,
        own=policy.own,
        budget_minutes=policy.budget_minutes,
        restarts=False,
    )


def run_pairs(
    plan: PairedPlan,
    points: Mapping[Arm, Mapping[str, OperatingPoint]],
    open_rig: OpenRig,
    *,
    base: str,
    artifacts: Path,
    clock: Callable[[], float] = time.monotonic,
) -> Judgement:
    """Run the job to its end and judge it; every start is stored before the next begins."""
    rules, history = rules_of(plan), list[Start]()
    while isinstance(step := next_step(plan, rules, history), Go):
        arm = step.arm
        opened = open_rig(arm, len(history))
        history.append(measure_start(plan, arm, points[arm], opened, clock=clock))
        content = PairsFile(base=base, plan=plan, history=tuple(history))
        codec.write_atomic(artifacts / PAIRS, codec.to_pretty_json(content))
    return judge_pairs(plan, rules, history, step, records=str(artifacts / PAIRS))


def measure_start(
    plan: PairedPlan,
    arm: Arm,
    points: Mapping[str, OperatingPoint],
    opened: AbstractContextManager[Measuring],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Start:
    """Open a server, measure the points on it, and close it again."""
    began = clock()
    values, fault, disturbed = _start(plan, points, opened)
    minutes = (clock() - began) / 60
    return Start(arm=arm, minutes=minutes, values=values, fault=fault, disturbed=disturbed)


def rejudge_pairs(artifacts: Path) -> Judgement | None:
    """Judge a stored paired job again; None where there is none."""
    path = artifacts / PAIRS
    if not path.exists():
        return None
    content = codec.from_versioned_json(
        path.read_bytes(),
        PairsFile,
        version=SCHEMA_VERSION,
        origin=str(path),
        if_older="Judge it with the perfgate that wrote it",
    )
    rules = rules_of(content.plan)
    step = next_step(content.plan, rules, content.history)
    if isinstance(step, Go):
        msg = f"the paired job stopped before it was decided, after {len(content.history)} starts"
        return unmeasured(PAIRED, msg)
    return judge_pairs(content.plan, rules, content.history, step, records=str(path))


def point_ids(policy: PairedPolicy) -> tuple[str, ...]:
    """The points that a start measures, in the order in which the policy names them."""
    cells = (*policy.primary, *policy.secondary)
    return tuple(dict.fromkeys(cell.rpartition(":")[0] for cell in cells))


def require_paired(policy: Policy) -> PairedPolicy:
    """The paired part of the policy; UsageError if it names no cell or an unknown metric."""
    paired = policy.paired
    if not paired.primary:
        raise UsageError("policy.toml: paired.primary", [], "name one to four point:metric cells")
    for cell in (*paired.primary, *paired.secondary):
        if cell.rpartition(":")[2] not in BY_NAME:
            raise UsageError("paired cell", cell, f"its metric must be one of {', '.join(BY_NAME)}")
    return paired


def _start(
    plan: PairedPlan,
    points: Mapping[str, OperatingPoint],
    opened: AbstractContextManager[Measuring],
) -> tuple[dict[str, float], str, bool]:
    """One server start: the value of each cell, or what went wrong and if other work is why."""
    try:
        with opened as rig:
            measured = {name: rig.measure(point) for name, point in points.items()}
    except UsageError:
        raise  # a user's mistake is no fault of the server
    except PerfGateError as error:
        return {}, str(error), False
    vetoes = [f"{name}: {veto.message}" for name, one in measured.items() for veto in one.vetoes]
    if vetoes:
        found = [one.vetoes for one in measured.values() if one.vetoes]
        return {}, "; ".join(vetoes), all(map(other_work, found))
    values: dict[str, float] = {}
    for cell in (*plan.primary, *plan.secondary):
        point, _, metric = cell.rpartition(":")
        value = BY_NAME[metric].read(measured[point])
        if value is None:
            fault = f"{cell}: too few requests for it; raise the point's round_requests"
            return {}, fault, False
        values[cell] = value
    return values, "", False
