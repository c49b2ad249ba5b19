"""A whole exploration: search, ask what mattered, measure the front-runners on the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from perfgate.artifacts import RECORDS
from perfgate.errors import BuildError, LoadError, NoSamplesError, RecordsError, ServerError
from perfgate.explore import trials as chosen
from perfgate.explore.findings import (
    Budget,
    Confirmed,
    Exploration,
    Spent,
    Sweep,
    SweepRow,
)
from perfgate.explore.limits import Decomposition, Limit, decompose, limits
from perfgate.explore.search import Search
from perfgate.explore.space import Settings, Space
from perfgate.explore.trials import Effect, Evaluate, Goal, Outcome, Trial, tried
from perfgate.measure.measure import measure
from perfgate.model import (
    BatchingStrategy,
    Measurement,
    OperatingPoint,
    Policy,
    RunInfo,
)
from perfgate.records import SUFFIX, read_run
from perfgate.report.progress import Step
from perfgate.rig import Observer, Rig
from perfgate.sim.report import SWEEP_CONCURRENCIES, simulate_point
from perfgate.terminal import BOOT_S

VIRTUAL_TRIES, LIVE_TRIES = 6, 2
VIRTUAL_TRIAL_S = 0.3
SEARCH, AFTER, CONFIRM = "search settings", "ask what mattered", "measure the front-runners"
TRIALS = "trials"
AFTER_S = 60.0

_LIVE_TRIAL_S = 60.0
_MOST_IN_FLIGHT = 4096  # more than any ceiling leaves room for

Clock = Callable[[], float]
OpenRig = Callable[[Path, Observer], Rig]
Observe = Callable[[tuple[Step, ...]], Observer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is searched, for what, and what that may cost."""

    space: Space
    goal: Goal
    policy: Policy
    budget: Budget
    seed: int

    @property
    def virtual(self) -> bool:
        """Whether trials run in virtual time: where the profile says how to simulate it."""
        return self.space.profile.simulation is not None


def explore(
    task: Task,
    folder: Path,
    *,
    observe: Observe,
    open_rig: OpenRig,
    clock: Clock,
    info: Callable[[], RunInfo],
) -> Exploration:
    """Explore within the budget; what `folder` holds of the same search is not done again.

    Trials run in virtual time where the profile can be simulated, else on the target. A search
    that is interrupted has lost nothing: called again, it goes on.
    """
    started = clock()
    search = Search(
        folder,
        task.space,
        task.goal,
        seed=task.seed,
        tries=VIRTUAL_TRIES if task.virtual else LIVE_TRIES,
    )
    earlier = search.candidates
    deadline = started + 60 * task.budget.minutes
    observer = observe(_plan(task, earlier))

    def in_time(later_s: float = 0.0) -> bool:
        return clock() + later_s <= deadline - _reserved_s(task)

    with nullcontext() if task.virtual else open_rig(folder / TRIALS, observer) as rig:
        evaluate = _virtual(task.space) if rig is None else _live(rig, task.space)
        _search(
            search,
            evaluate,
            candidates=task.budget.candidates,
            observer=observer,
            in_time=lambda: in_time(AFTER_S),
        )
        asked = _Asked(trials=search.trials)
        if task.virtual:
            asked = _ask(task, search.trials, evaluate, observer, in_time)
    searched = clock()
    confirmed = _confirm(
        task,
        asked.trials,
        folder,
        rig_of=lambda plan: open_rig(folder, observe(plan)),
        in_time=lambda seconds: clock() + seconds <= deadline,
    )
    best = chosen.fastest(asked.trials, task.goal)
    as_it_is = task.space.settings_of(task.space.start)
    start = next((one for one in asked.trials if one.settings == as_it_is), None)
    return Exploration(
        run=info(),
        virtual=task.virtual,
        start=task.space.start,
        start_settings=as_it_is,
        start_outcome=start.outcome if start else None,
        goal=task.goal,
        seed=task.seed,
        budget=task.budget,
        spent=Spent(
            candidates=search.candidates,
            earlier=earlier,
            search_s=round(searched - started, 1),
            confirm_s=round(clock() - searched, 1),
        ),
        ranges=task.space.ranges,
        trials=asked.trials,
        front=tuple(one.number for one in chosen.pareto(asked.trials, task.goal)),
        best=best.number if best else None,
        best_point=task.space.point(best.settings) if best else None,
        importance=search.importance(),
        sweeps=asked.sweeps,
        effects=asked.effects,
        limits=asked.limits,
        decompositions=asked.decompositions,
        confirmed=confirmed,
    )


# --- Trials -----------------------------------------------------------------------------------


def _search(
    search: Search,
    evaluate: Evaluate,
    *,
    candidates: int,
    observer: Observer,
    in_time: Callable[[], bool],
) -> None:
    """Try candidates until there are so many or no time is left; one at least."""
    left = candidates - search.candidates
    observer.begin(SEARCH)
    for done in range(left):
        if done and not in_time():
            break
        search.step(evaluate)
        observer.advance(done + 1, left)
    observer.end()


def _virtual(space: Space) -> Evaluate:
    """Try a candidate in virtual time; one that comes again is remembered."""

    @cache
    def evaluate(settings: Settings) -> Outcome:
        steady = simulate_point(space.profile, space.point(settings))
        if steady.latency_p95_s is None:
            msg = f"{steady.requests} requests of the steady window hold no P95"
            raise NoSamplesError(msg)
        return Outcome(
            throughput_tok_s=steady.throughput_tok_s,
            latency_p50_s=steady.latency_p50_s,
            latency_p95_s=steady.latency_p95_s,
        )

    return evaluate


def _live(rig: Rig, space: Space) -> Evaluate:
    """Try a candidate on the target; a vetoed measurement says nothing."""

    def evaluate(settings: Settings) -> Outcome:
        measured = rig.measure(space.point(settings))
        if measured.vetoes:
            raise NoSamplesError("; ".join(veto.message for veto in measured.vetoes))
        return _outcome(measured)

    return evaluate


def _outcome(measured: Measurement) -> Outcome:
    latency = measured.latency_s
    if latency.p95 is None:
        msg = f"{measured.point.id}: {latency.n} requests hold no P95"
        raise NoSamplesError(msg)
    return Outcome(
        throughput_tok_s=measured.throughput_tok_s,
        latency_p50_s=latency.p50,
        latency_p95_s=latency.p95,
    )


# --- What mattered ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Every trial, those of the last steps too, and what only virtual time is cheap to ask."""

    trials: tuple[Trial, ...]
    sweeps: tuple[Sweep, ...] = ()
    effects: tuple[Effect, ...] = ()
    limits: tuple[Limit, ...] = ()
    decompositions: tuple[Decomposition, ...] = ()


def _ask(
    task: Task,
    trials: tuple[Trial, ...],
    evaluate: Evaluate,
    observer: Observer,
    in_time: Callable[[], bool],
) -> _Asked:
    """Walk the last steps to the best settings, and ask what they owe to which setting."""
    space, goal = task.space, task.goal
    start = space.settings_of(space.start)
    observer.begin(AFTER)
    found: tuple[Effect, ...] = ()
    if best := chosen.fastest(trials, goal):
        path, found = chosen.refine(best, goal, evaluate, number=len(trials), in_time=in_time)
        trials = (*trials, *path)
        best = path[-1] if path else best
    swept, points = {"as it is": start}, [space.start]
    if best is not None and best.settings != start:
        static = replace(best.settings, batching=BatchingStrategy.STATIC)
        swept |= {"best": best.settings, "best, static batching": static}
        points.append(space.point(best.settings))
    made = {name: _sweep(one, evaluate, number=len(trials)) for name, one in swept.items()}
    every = (*trials, *(one for rows in made.values() for one in rows))
    asked = _Asked(
        sweeps=tuple(_as_sweep(name, rows, goal) for name, rows in made.items()),
        trials=tuple(replace(one, number=number) for number, one in enumerate(every)),
        effects=found,
        limits=limits(space.profile, space.start, goal.ceiling_p95_s, most=_MOST_IN_FLIGHT),
        decompositions=tuple(decompose(space.profile, one) for one in points),
    )
    observer.end()
    return asked


def _sweep(settings: Settings, evaluate: Evaluate, *, number: int) -> tuple[Trial, ...]:
    """The settings over concurrency, their own among them."""
    concurrencies = sorted({*SWEEP_CONCURRENCIES, settings.concurrency})
    return tuple(
        tried(number, replace(settings, concurrency=concurrency), evaluate)
        for concurrency in concurrencies
    )


def _as_sweep(name: str, trials: Sequence[Trial], goal: Goal) -> Sweep:
    rows = [
        SweepRow(
            concurrency=one.settings.concurrency,
            outcome=one.outcome,
            met=one.outcome is not None and goal.met(one.outcome),
        )
        for one in trials
    ]
    return Sweep(name=name, rows=tuple(rows))


# --- Front-runners on the target ----------------------------------------------------------------


def _confirm(
    task: Task,
    trials: Sequence[Trial],
    folder: Path,
    rig_of: Callable[[tuple[Step, ...]], Rig],
    in_time: Callable[[float], bool],
) -> tuple[Confirmed, ...]:
    """Measure the front-runners, the fastest first, while there is time for the next."""
    runners = chosen.front_runners(trials, task.goal, task.budget.confirm)
    points = [(one, task.space.point(one.settings)) for one in runners]
    found: list[Confirmed] = []
    with rig_of(_confirm_plan(points)) as rig:
        for trial, point in points:
            stored = _stored(folder, point, task.policy)
            if stored is None and not in_time(_confirm_s(trial, point)):
                break
            found.append(_confirmed(trial, point, rig, stored, task.goal))
    return tuple(found)


def _confirmed(
    trial: Trial, point: OperatingPoint, rig: Rig, stored: Measurement | None, goal: Goal
) -> Confirmed:
    assert trial.outcome is not None  # noqa: S101 - for the type checker; front-runners have one
    base = Confirmed(trial=trial.number, point=point.id, promised=trial.outcome)
    try:
        measured = stored or rig.measure(point)
        outcome = _outcome(measured)
    except (NoSamplesError, BuildError, ServerError, LoadError) as error:
        return replace(base, failure=str(error))
    return replace(
        base,
        measured=outcome,
        met=not measured.vetoes and goal.met(outcome),
        vetoes=measured.vetoes,
        records=measured.records,
    )


def _stored(folder: Path, point: OperatingPoint, policy: Policy) -> Measurement | None:
    """The point's sound measurement by an earlier session of the same search, if there is one."""
    path = folder / RECORDS / f"{point.id}{SUFFIX}"
    if not path.is_file():
        return None
    try:
        run = read_run(path)
        measured = measure(run, policy, records=str(path))
    except (RecordsError, NoSamplesError):
        return None
    return measured if run.point == point and not measured.vetoes else None


# --- Plans --------------------------------------------------------------------------------------


def _plan(task: Task, earlier: int) -> tuple[Step, ...]:
    left = task.budget.candidates - earlier
    each = VIRTUAL_TRIES * VIRTUAL_TRIAL_S if task.virtual else LIVE_TRIES * _LIVE_TRIAL_S
    limit = 60 * task.budget.minutes - _reserved_s(task) - AFTER_S
    search = Step(name=SEARCH, expected_s=max(min(left * each, limit), 0.0), counts="candidates")
    later = [Step(name=AFTER, expected_s=AFTER_S)] if task.virtual else []
    return (search, *later, Step(name=CONFIRM, expected_s=_reserved_s(task)))


def _reserved_s(task: Task) -> float:
    """Time kept for measuring the front-runners."""
    waves = 2 + 2 + 1
    return task.budget.confirm * (BOOT_S + task.goal.ceiling_p95_s * waves)


def _confirm_plan(
    points: Sequence[tuple[Trial, OperatingPoint]],
) -> tuple[Step, ...]:
    return tuple(
        step
        for trial, point in points
        for step in (
            Step(name=f"boot Triton with {point.engine.name}", expected_s=BOOT_S),
            Step(name=f"measure {point.id}", expected_s=_confirm_s(trial, point) - BOOT_S),
        )
    )


def _confirm_s(trial: Trial, point: OperatingPoint) -> float:
    latency_s = trial.outcome.latency_p50_s if trial.outcome else 0.0
    sampling = point.sampling
    waves = sampling.rounds * sampling.round_requests / point.workload.concurrency
    return BOOT_S + latency_s * (sampling.ramp + waves + 1)
