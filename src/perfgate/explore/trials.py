"""Tried candidates: which ones may be chosen, which none beats, and what one setting is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perfgate.errors import BuildError, LoadError, NoSamplesError, ServerError, UsageError
from perfgate.explore.space import (
    BLOCKS,
    MOST_BATCH,
    MOST_CONCURRENCY,
    MOST_NUM_TOKENS,
    Settings,
)
from perfgate.model import BatchingStrategy, Precision, SchedulerPolicy

_SHY = 0.998
_EFFECT_TRIES = 6
_LEAST_GAIN = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a candidate reaches: output token throughput and request latency."""

    throughput_tok_s: float
    latency_p50_s: float
    latency_p95_s: float


Evaluate = Callable[[Settings], Outcome]
"""Tries a candidate; raises where it cannot be built or served, or says nothing of a P95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One tried candidate; `outcome` is None where it could not be served, `failure` says why."""

    number: int
    settings: Settings
    outcome: Outcome | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a candidate must hold to be chosen: the P95 ceiling, and a P95 near the median.

    The second is the gate's own rule: a point that breaks it is UNSTABLE there.
    """

    ceiling_p95_s: float
    max_p95_over_p50: float

    def excess(self, outcome: Outcome) -> dict[str, float]:
        """By what share each condition is broken; 0 or less holds it."""
        spread = outcome.latency_p95_s / outcome.latency_p50_s
        return {
            "ceiling": outcome.latency_p95_s / self.ceiling_p95_s - 1,
            "flatness": spread / self.max_p95_over_p50 - 1,
        }

    def met(self, outcome: Outcome) -> bool:
        """Whether both conditions hold."""
        return all(excess <= 0 for excess in self.excess(outcome).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What another value of one setting makes of the best candidate, at its own concurrency.

    `trial` is None where nothing under the ceiling was found; `failure` says why where it cannot
    be served at all.
    """

    setting: str
    chosen: str
    other: str
    trial: Trial | None = None
    throughput_change: float | None = None
    failure: str = ""


def pareto(trials: Sequence[Trial], goal: Goal) -> tuple[Trial, ...]:
    """The trials that no other one beats in throughput and P95 at once, from the slowest up.

    Only flat ones compete; the ceiling is left out, so that the front shows what it costs.
    """
    flat = [one for one in trials if one.outcome and goal.excess(one.outcome)["flatness"] <= 0]
    front: list[Trial] = []
    best = 0.0
    for trial in sorted(flat, key=_by_latency):
        outcome = trial.outcome
        if outcome is not None and outcome.throughput_tok_s > best:
            best = outcome.throughput_tok_s
            front.append(trial)
    return tuple(front)


def fastest(trials: Sequence[Trial], goal: Goal) -> Trial | None:
    """The fastest trial that meets the goal."""
    meeting = [one for one in trials if one.outcome and goal.met(one.outcome)]
    return max(meeting, key=_throughput, default=None)


def nearest(trials: Sequence[Trial], goal: Goal) -> Trial | None:
    """The fastest trial that meets the goal, or else the one that misses it least."""
    served = [one for one in trials if one.outcome]
    misses = min(served, key=lambda one: _worst(one, goal), default=None)
    return fastest(trials, goal) or misses


def climb(
    at: Callable[[int], Settings],
    goal: Goal,
    evaluate: Evaluate,
    *,
    first: int,
    tries: int,
) -> tuple[Trial, ...]:
    """Try one candidate at several concurrencies for the highest that meets the goal.

    P95 rises with the concurrency, nearly in a straight line: the next one to try is where the
    line through the last two meets the ceiling, else half way between what holds and what does
    not, or a little less than what does not.
    Ends at `tries` trials, where nothing lies between the two, or where it cannot be served.
    """
    holds, misses, concurrency = 0, MOST_CONCURRENCY + 1, first
    trials: list[Trial] = []
    while len(trials) < tries and misses - holds > 1:
        trial = tried(len(trials), at(concurrency), evaluate)
        trials.append(trial)
        if trial.outcome is None:
            break
        if goal.met(trial.outcome):
            holds = concurrency
        else:
            misses = concurrency
        concurrency = _aim(trials, goal.ceiling_p95_s)
        if not holds < concurrency < misses:
            # P95 is jagged: a miss says little of half the concurrency, much of a few less.
            concurrency = (holds + misses) // 2 if holds else misses - max(misses // 32, 1)
    return tuple(trials)


def _aim(trials: Sequence[Trial], ceiling_s: float) -> int:
    """The concurrency whose P95 should just be under the ceiling."""
    seen = [(one.settings.concurrency, one.outcome.latency_p95_s) for one in trials if one.outcome]
    aim_s = ceiling_s * _SHY
    (before, before_s), (last, last_s) = ((0, 0.0), *seen)[-2:]
    if last_s == before_s:
        return last
    return round(last + (aim_s - last_s) * (last - before) / (last_s - before_s))


def front_runners(trials: Sequence[Trial], goal: Goal, most: int) -> tuple[Trial, ...]:
    """The fastest trials of the front that meet the goal, the fastest first."""
    meeting = [one for one in pareto(trials, goal) if one.outcome and goal.met(one.outcome)]
    return tuple(reversed(meeting))[:most]


def refine(
    best: Trial, goal: Goal, evaluate: Evaluate, *, number: int, in_time: Callable[[], bool]
) -> tuple[tuple[Trial, ...], tuple[Effect, ...]]:
    """Walk from the best trial to its best neighbour, until none is faster or time is up.

    Returns the trials stepped to, numbered from `number`, and the effects around the last one.
    """
    path: list[Trial] = []
    while True:
        around = effects(best, goal, evaluate)
        step = max(around, key=_gain)
        if step.trial is None or _gain(step) < _LEAST_GAIN or not in_time():
            return tuple(path), around
        best = replace(step.trial, number=number + len(path))
        path.append(best)


def effects(best: Trial, goal: Goal, evaluate: Evaluate) -> tuple[Effect, ...]:
    """Change one setting of the best candidate at a time, and let the concurrency follow."""
    return tuple(
        _effect(best, name, changed, goal, evaluate) for name, changed in _neighbours(best.settings)
    )


def tried(number: int, settings: Settings, evaluate: Evaluate) -> Trial:
    """Try a candidate; what cannot be served is a trial without outcome."""
    try:
        return Trial(number=number, settings=settings, outcome=evaluate(settings))
    except (UsageError, NoSamplesError, BuildError, ServerError, LoadError) as error:
        return Trial(number=number, settings=settings, failure=str(error))


def _effect(best: Trial, name: str, changed: Settings, goal: Goal, evaluate: Evaluate) -> Effect:
    trials = climb(
        lambda concurrency: replace(changed, concurrency=concurrency),
        goal,
        evaluate,
        first=best.settings.concurrency,
        tries=_EFFECT_TRIES,
    )
    effect = Effect(
        setting=name,
        chosen=str(getattr(best.settings, name)),
        other=str(getattr(changed, name)),
        failure=trials[0].failure,
    )
    found = fastest(trials, goal)
    if found is None or found.outcome is None or best.outcome is None:
        return effect
    change = found.outcome.throughput_tok_s / best.outcome.throughput_tok_s - 1
    return replace(effect, trial=found, throughput_change=change)


def _gain(effect: Effect) -> float:
    return -1.0 if effect.throughput_change is None else effect.throughput_change


def _neighbours(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """The same settings but for one: every other choice, and numbers below and above."""
    choices: dict[str, tuple[Any, ...]] = {
        "precision": tuple(Precision),
        "scheduler_policy": tuple(SchedulerPolicy),
        "batching": tuple(BatchingStrategy),
        "chunked_context": (False, True),
        "tokens_per_block": BLOCKS,
        "max_batch_size": (max(settings.max_batch_size // 2, 1), MOST_BATCH),
        "max_num_tokens": (
            *(round(settings.max_num_tokens * ratio) for ratio in (0.95, 0.98, 1.02, 1.05)),
            MOST_NUM_TOKENS,
        ),
        "kv_cache_tokens": (settings.kv_cache_tokens // 4, settings.kv_cache_tokens * 4),
    }
    for name, others in choices.items():
        for other in others:
            if other != getattr(settings, name):
                yield name, replace(settings, **{name: other})


def _worst(trial: Trial, goal: Goal) -> float:
    return max(goal.excess(trial.outcome).values()) if trial.outcome else math.inf


def _throughput(trial: Trial) -> float:
    return trial.outcome.throughput_tok_s if trial.outcome else 0.0


def _by_latency(trial: Trial) -> tuple[float, float]:
    """Rising P95, the faster first where two are equal."""
    if trial.outcome is None:
        return (math.inf, 0.0)
    return (trial.outcome.latency_p95_s, -trial.outcome.throughput_tok_s)
