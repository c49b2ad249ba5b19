"""The sweep itself: choose, measure, store, and again, until the choice says that it is enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from perfgate.errors import PerfGateError, UsageError
from perfgate.measure import metrics
from perfgate.measure.bands import Band, quantile_band
from perfgate.measure.window import steady_window
from perfgate.model import Fingerprint, Measurement, OperatingPoint
from perfgate.paired import Measuring
from perfgate.records import read_run
from perfgate.report.progress import Step
from perfgate.sweep.choice import (
    Done,
    Next,
    Seen,
    SweepPlan,
    expected_seconds,
    grid,
    next_choice,
    sampling_at,
)
from perfgate.sweep.content import EngineSweep, Failed, Taken

_P95 = 0.95


class Ahead(Protocol):
    """Who is told what is still to come, so that time left can be shown."""

    def expect(self, later: tuple[Step, ...]) -> None:
        """Replace what was planned after the step that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a sweep measures with.

    `open_rig` starts a fresh server for a boot (from 1); any driver that answers
    `measure(point)` with a Measurement will do. `check` refuses a measurement of something else
    than the sweep began with. `store` keeps the sweep after each point.
    """

    open_rig: Callable[[int], AbstractContextManager[Measuring]]
    check: Callable[[EngineSweep, Fingerprint], None]
    store: Callable[[EngineSweep], None]
    ahead: Ahead
    clock: Callable[[], float] = time.monotonic


def run_sweep(sweep: EngineSweep, plan: SweepPlan, means: Means, *, boots: int) -> None:
    """Go on with a sweep until nothing is left to measure; it is stored after each point.

    The first boot chooses the concurrencies, later ones repeat them. A concurrency that cannot be
    measured is told and left out; if none can be, its error is raised.
    """
    sweep = replace(sweep, ended="", failed=())  # what failed or was vetoed is tried again
    old = frozenset(one.measurement.point.id for one in sweep.taken if one.measurement.vetoes)
    work = _Work(plan, means, old)
    for boot in range(1, boots + 1):
        step = work.next(sweep, boot)
        if isinstance(step, Next):
            with means.open_rig(boot) as rig:
                while isinstance(step, Next):
                    means.ahead.expect(work.ahead(sweep, step))
                    sweep = work.measure(sweep, step, boot, rig)
                    means.store(sweep)
                    step = work.next(sweep, boot)
        if boot == 1:
            sweep = replace(sweep, ended=step.why)
    means.store(sweep)


def begun(point: OperatingPoint, plan: SweepPlan) -> EngineSweep:
    """A sweep of which nothing is measured yet."""
    return EngineSweep(point=replace(point, sampling=plan.sampling))


def p95_band(measurement: Measurement) -> Band | None:
    """The band of P95 by the stored requests; None where none are stored."""
    if not measurement.records or measurement.latency_s.p95 is None:
        return None
    window = steady_window(read_run(Path(measurement.records)))
    return quantile_band(metrics.LATENCY.of(window).tolist(), _P95)


@dataclass(frozen=True, slots=True)
class _Work:
    """The steps of a sweep; `old` names measurements that an earlier run had vetoed."""

    plan: SweepPlan
    means: Means
    old: frozenset[str]

    def next(self, sweep: EngineSweep, boot: int) -> Next | Done:
        """What the first boot chooses, or what a later one repeats."""
        seen = self._seen(sweep)
        if boot == 1:
            return next_choice(self.plan, seen)
        done = {one.concurrency for one in self._taken(sweep) if one.boot == boot}
        done |= {one.concurrency for one in sweep.failed if one.boot == boot}
        for concurrency in sorted({one.concurrency for one in sweep.sound if one.boot == 1} - done):
            return Next(
                concurrency=concurrency,
                why=f"boot {boot}",
                expected_s=expected_seconds(self.plan, seen, concurrency),
            )
        return Done(why=f"boot {boot} is measured")

    def ahead(self, sweep: EngineSweep, step: Next) -> tuple[Step, ...]:
        """The coming step, the rest of the grid, and what the budget then leaves for refining."""
        plan, seen = self.plan, self._seen(sweep)
        known = {one.concurrency for one in seen} | {step.concurrency}
        name = f"measure {sweep.point.engine.name}-c"
        steps = [Step(name=f"{name}{step.concurrency}", expected_s=step.expected_s)]
        steps += [
            Step(name=f"{name}{at}", expected_s=expected_seconds(plan, seen, at))
            for at in grid(plan)
            if at not in known
        ]
        spent = sum(one.seconds for one in seen) + sum(one.expected_s for one in steps)
        if not plan.concurrencies and plan.budget_s > spent:
            steps.append(Step(name="refine", expected_s=plan.budget_s - spent))
        return tuple(steps)

    def measure(self, sweep: EngineSweep, step: Next, boot: int, rig: Measuring) -> EngineSweep:
        """The sweep with one more measurement, or with the reason why there is none."""
        clock = self.means.clock
        began = clock()
        try:
            found = rig.measure(self._point(sweep, step.concurrency, boot))
        except UsageError:
            raise  # a user's mistake is no fault of the server
        except PerfGateError as error:
            if not sweep.taken:
                raise
            failed = Failed(
                concurrency=step.concurrency,
                boot=boot,
                seconds=clock() - began,
                reason=str(error),
            )
            return replace(sweep, failed=(*sweep.failed, failed))
        self.means.check(sweep, found.fingerprint)
        taken = Taken(
            measurement=found,
            boot=boot,
            why=step.why,
            seconds=clock() - began,
            p95_band=p95_band(found),
        )
        return replace(sweep, taken=(*sweep.taken, taken))

    def _taken(self, sweep: EngineSweep) -> list[Taken]:
        return [one for one in sweep.taken if one.measurement.point.id not in self.old]

    def _seen(self, sweep: EngineSweep) -> list[Seen]:
        failed = [one for one in sweep.failed if one.boot == 1]
        return [
            *(_sight(one) for one in self._taken(sweep) if one.boot == 1),
            *(Seen(concurrency=one.concurrency, seconds=one.seconds) for one in failed),
        ]

    def _point(self, sweep: EngineSweep, concurrency: int, boot: int) -> OperatingPoint:
        """The point to measure; its name tells boots and repetitions apart: none is lost."""
        template = sweep.point
        before = sum(one.concurrency == concurrency and one.boot == boot for one in sweep.taken)
        name = f"{template.engine.name}-c{concurrency}"
        name += f"-boot{boot}" if boot > 1 else ""
        name += f"-again{before}" if before else ""
        return replace(
            template,
            id=name,
            workload=replace(template.workload, concurrency=concurrency),
            sampling=sampling_at(self.plan, concurrency),
        )


def _sight(one: Taken) -> Seen:
    found = one.measurement
    if found.vetoes:
        return Seen(concurrency=one.concurrency, seconds=one.seconds)
    return Seen(
        concurrency=one.concurrency,
        seconds=one.seconds,
        throughput_tok_s=found.throughput_tok_s,
        latency_p50_s=found.latency_s.p50,
        latency_p95_s=found.latency_s.p95,
    )
