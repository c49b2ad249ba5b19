"""Fitting the cost model's free parameters to the throughputs a source reports.

In a closed loop whose turnaround is shorter than an iteration, *which* tokens run together does
not depend on how long iterations take. So each reference point is scheduled once, its steady
iterations are kept, and the throughput under any parameters is

    tokens in the kept iterations / sum of their cost

which is exact, and cheap enough for least squares.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy

from perfgate.errors import UsageError
from perfgate.hardware import CostParameters, HardwareProfile, Parameter
from perfgate.model import OperatingPoint
from perfgate.sim.cost import cost_model
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Step
from perfgate.sim.virtual import TURNAROUND_S, run_load, steady_state

FLOOR_MARGIN = 0.03
"""Simulated throughput aims this far above a floor, so that noise does not fail it."""

_PERIODS = 3
_ANY_STEP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The steady iterations of one operating point and the tokens they yield."""

    point: OperatingPoint
    steps: tuple[Step, ...]
    tokens: float

    def throughput_tok_s(self, profile: HardwareProfile) -> float:
        """Output tokens a second under the profile's parameters."""
        step_seconds = cost_model(profile, self.point.engine).step_seconds
        return self.tokens / sum(map(step_seconds, self.steps))


def fit(profile: HardwareProfile, points: Sequence[OperatingPoint]) -> HardwareProfile:
    """Return the profile with its fitted parameters set anew by bounded least squares.

    The residual of a reference point is the logarithm of its simulated throughput over its aim
    (`aim_tok_s`). Raises UsageError if a reference names no operating point, or if there are not
    fewer parameters than reference points.
    """
    simulation = profile.require_simulation()
    free = _fitted(simulation.parameters)
    if len(free) >= len(simulation.reference):
        rule = f"{len(simulation.reference)} reference points hold fewer parameters than that"
        raise UsageError("fitted parameters", len(free), rule)
    schedules = [
        (schedule(point), aim_tok_s(point, profile.name, reported))
        for point, reported in reference_points(profile, points)
    ]
    # With the planted slowdown in force the fit would hide it.
    honest = dataclasses.replace(simulation, step_time_factor=1.0)
    start = dataclasses.replace(profile, simulation=honest)

    def residuals(values: Sequence[float]) -> list[float]:
        trial = _with_values(start, free, values)
        return [math.log(s.throughput_tok_s(trial) / aim) for s, aim in schedules]

    solution = scipy.optimize.least_squares(
        residuals,
        x0=[parameter.value for parameter in free.values()],
        bounds=([p.low for p in free.values()], [p.high for p in free.values()]),
        x_scale=[p.high - p.low for p in free.values()],
    )
    return _with_values(profile, free, solution.x)


def reference_points(
    profile: HardwareProfile, points: Sequence[OperatingPoint]
) -> list[tuple[OperatingPoint, float]]:
    """Join the profile's references with their operating points: point and reported tok/s."""
    known = {point.id: point for point in points}
    for reference in profile.require_simulation().reference:
        if reference.point not in known:
            rule = f"it must be an operating point, one of {', '.join(known)}"
            raise UsageError("simulation.reference.point", reference.point, rule)
    return [
        (known[reference.point], reference.throughput_tok_s)
        for reference in profile.require_simulation().reference
    ]


def aim_tok_s(point: OperatingPoint, hardware: str, reported_tok_s: float) -> float:
    """The throughput to fit: what was reported, or the floor and a margin if that is more."""
    claim = point.claim_on(hardware)
    floor = claim.floor_tok_s if claim else None
    return max(reported_tok_s, (floor or 0.0) * (1 + FLOOR_MARGIN))


def schedule(point: OperatingPoint) -> Schedule:
    """Schedule one operating point and keep its steady iterations."""
    steps: list[Step] = []

    def record(step: Step) -> float:
        steps.append(step)
        return _ANY_STEP_S

    run = run_load(
        Scheduler(point.engine, point.serving, vocab_size=2),
        record,
        point.workload,
        requests=_PERIODS * point.workload.concurrency,
        turnaround_s=TURNAROUND_S,
    )
    steady = steps[-round((run.end_ns - run.steady_ns) / (_ANY_STEP_S * 1e9)) :]
    tokens = steady_state(run).throughput_tok_s * _ANY_STEP_S * len(steady)
    return Schedule(point=point, steps=tuple(steady), tokens=tokens)


def _fitted(parameters: CostParameters) -> dict[str, Parameter]:
    every = {f.name: getattr(parameters, f.name) for f in dataclasses.fields(parameters)}
    return {name: parameter for name, parameter in every.items() if parameter.fitted}


def _with_values(
    profile: HardwareProfile, free: dict[str, Parameter], values: Sequence[float]
) -> HardwareProfile:
    simulation = profile.require_simulation()
    changed = {
        name: dataclasses.replace(parameter, value=float(value))
        for (name, parameter), value in zip(free.items(), values, strict=True)
    }
    parameters = dataclasses.replace(simulation.parameters, **changed)
    return dataclasses.replace(
        profile, simulation=dataclasses.replace(simulation, parameters=parameters)
    )
