"""The sweep itself: choose, measure, store, and again, until the choice says that it is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from perfgate.sweep.content import EngineSweep, Failed, Taken, offered_rate
from perfgate.sweep.rate_result import held, telling
from perfgate.sweep.rates import (
    NextRate,
    Offered,
    RatePlan,
    at_rate,
    next_rate,
    rate_seconds,
)

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


@dataclass(frozen=True, slots=True)
class _Load:
    """A point to measure, why, and what is then still to come."""

    point: OperatingPoint
    why: str
    ahead: tuple[Step, ...]


def run_sweep(sweep: EngineSweep, plan: SweepPlan | RatePlan, means: Means, *, boots: int) -> None:
    """Go on with a sweep until nothing is left to measure; it is stored after each point.

    The first boot chooses the loads, later ones repeat them. A load that cannot be measured is told
    and left out; if none can be, its error is raised. Rates are offered on one boot.
    """
    sweep = replace(sweep, ended="", failed=())  # what failed or was vetoed is tried again
    work: _Concurrencies | _Rates
    if isinstance(plan, RatePlan):
        work = _Rates(plan, frozenset(_names(sweep.taken)) - frozenset(_names(telling(sweep))))
    else:
        work = _Concurrencies(plan, frozenset(_names(sweep.taken)) - frozenset(_names(sweep.sound)))
    for boot in range(1, boots + 1):
        load = work.next(sweep, boot)
        if isinstance(load, _Load):
            with means.open_rig(boot) as rig:
                while isinstance(load, _Load):
                    means.ahead.expect(load.ahead)
                    sweep = _with(sweep, load, boot, rig, means)
                    means.store(sweep)
                    load = work.next(sweep, boot)
        if boot == 1:
            sweep = replace(sweep, ended=load.why)
    means.store(sweep)


def _names(taken: Iterable[Taken]) -> Iterator[str]:
    return (one.measurement.point.id for one in taken)


def _with(sweep: EngineSweep, load: _Load, boot: int, rig: Measuring, means: Means) -> EngineSweep:
    """The sweep with one more measurement, or with the reason why there is none."""
    began = means.clock()
    try:
        found = rig.measure(load.point)
    except UsageError:
        raise  # a user's mistake is no fault of the server
    except PerfGateError as error:
        if not sweep.taken:
            raise
        failed = Failed(
            concurrency=load.point.workload.concurrency,
            boot=boot,
            seconds=means.clock() - began,
            reason=str(error),
            requests_per_s=offered_rate(load.point),
        )
        return replace(sweep, failed=(*sweep.failed, failed))
    means.check(sweep, found.fingerprint)
    taken = Taken(
        measurement=found,
        boot=boot,
        why=load.why,
        seconds=means.clock() - began,
        p95_band=p95_band(found),
    )
    return replace(sweep, taken=(*sweep.taken, taken))


def begun(point: OperatingPoint, plan: SweepPlan | RatePlan) -> EngineSweep:
    """A sweep of which nothing is measured yet."""
    return EngineSweep(point=replace(point, sampling=plan.sampling))


def p95_band(measurement: Measurement) -> Band | None:
    """The band of P95 by the stored requests; None where none are stored."""
    if not measurement.records or measurement.latency_s.p95 is None:
        return None
    window = steady_window(read_run(Path(measurement.records)))
    return quantile_band(metrics.LATENCY.of(window).tolist(), _P95)


@dataclass(frozen=True, slots=True)
class _Concurrencies:
    """The steps of a closed loop's sweep; `old` names what an earlier run had vetoed."""

    plan: SweepPlan
    old: frozenset[str]

    def next(self, sweep: EngineSweep, boot: int) -> _Load | Done:
        """What is measured next, or why nothing is."""
        step = self._next(sweep, boot)
        if isinstance(step, Done):
            return step
        point = self._point(sweep, step.concurrency, boot)
        return _Load(point, step.why, self._ahead(sweep, step))

    def _next(self, sweep: EngineSweep, boot: int) -> Next | Done:
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

    def _ahead(self, sweep: EngineSweep, step: Next) -> tuple[Step, ...]:
        plan, seen = self.plan, self._seen(sweep)
        known = {one.concurrency for one in seen} | {step.concurrency}
        later = [at for at in grid(plan) if at not in known]
        loads = {f"c{step.concurrency}": step.expected_s}
        loads |= {f"c{at}": expected_seconds(plan, seen, at) for at in later}
        left_s = plan.budget_s - sum(one.seconds for one in seen)
        return _steps(sweep.point, loads, None if plan.concurrencies else left_s)

    def _taken(self, sweep: EngineSweep) -> list[Taken]:
        return [one for one in sweep.taken if one.measurement.point.id not in self.old]

    def _seen(self, sweep: EngineSweep) -> list[Seen]:
        failed = [one for one in sweep.failed if one.boot == 1]
        return [
            *(_sight(one) for one in self._taken(sweep) if one.boot == 1),
            *(Seen(concurrency=one.concurrency, seconds=one.seconds) for one in failed),
        ]

    def _point(self, sweep: EngineSweep, concurrency: int, boot: int) -> OperatingPoint:
        template = sweep.point
        before = sum(one.concurrency == concurrency and one.boot == boot for one in sweep.taken)
        return replace(
            template,
            id=_name(template, f"c{concurrency}", boot=boot, before=before),
            workload=replace(template.workload, concurrency=concurrency),
            sampling=sampling_at(self.plan, concurrency),
        )


@dataclass(frozen=True, slots=True)
class _Rates:
    """The steps of an open loop's sweep; `old` names what an earlier run could not say."""

    plan: RatePlan
    old: frozenset[str]

    def next(self, sweep: EngineSweep, boot: int) -> _Load | Done:
        """The next rate to offer, or why there is none."""
        step = next_rate(self.plan, self._seen(sweep))
        if isinstance(step, Done):
            return step
        rate = step.requests_per_s
        before = sum(one.requests_per_s == rate for one in sweep.taken)
        name = _name(sweep.point, f"r{rate:g}", boot=boot, before=before)
        point = at_rate(sweep.point, self.plan, rate, name=name)
        return _Load(point, step.why, self._ahead(sweep, step))

    def _ahead(self, sweep: EngineSweep, step: NextRate) -> tuple[Step, ...]:
        plan, seen = self.plan, self._seen(sweep)
        known = {one.requests_per_s for one in seen} | {step.requests_per_s}
        loads = {f"r{step.requests_per_s:g}": step.expected_s}
        loads |= {f"r{at:g}": rate_seconds(plan, at) for at in sorted({*plan.rates} - known)}
        left_s = plan.budget_s - sum(one.seconds for one in seen)
        return _steps(sweep.point, loads, None if plan.rates else left_s)

    def _seen(self, sweep: EngineSweep) -> list[Offered]:
        ceiling_s = sweep.point.claim.ceiling_p95_s if sweep.point.claim else None
        every: tuple[Taken | Failed, ...] = (*sweep.taken, *sweep.failed)
        return [
            Offered(
                requests_per_s=rate,
                seconds=one.seconds,
                held=held(one.measurement, ceiling_s) if isinstance(one, Taken) else None,
            )
            for one in every
            if (rate := one.requests_per_s) is not None and not self._is_old(one)
        ]

    def _is_old(self, one: Taken | Failed) -> bool:
        return isinstance(one, Taken) and one.measurement.point.id in self.old


def _steps(
    template: OperatingPoint, loads: Mapping[str, float], left_s: float | None
) -> tuple[Step, ...]:
    """The loads that are known to come, with their seconds, and what `left_s` leaves to refine."""
    steps = [
        Step(name=f"measure {_name(template, load)}", expected_s=seconds)
        for load, seconds in loads.items()
    ]
    if left_s is not None and left_s > sum(loads.values()):
        steps.append(Step(name="refine", expected_s=left_s - sum(loads.values())))
    return tuple(steps)


def _name(template: OperatingPoint, load: str, *, boot: int = 1, before: int = 0) -> str:
    """The name of a point; it tells boots and repetitions apart, so that none is lost."""
    name = f"{template.engine.name}-{load}"
    name += f"-boot{boot}" if boot > 1 else ""
    return name + (f"-again{before}" if before else "")


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
