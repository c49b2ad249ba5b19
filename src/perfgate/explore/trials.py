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
    """What one setting at another value makes of the best candidate, all else equal."""

    setting: str
    chosen: str
    other: str
    outcome: Outcome | None
    throughput_change: float | None
    met: bool
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


def front_runners(trials: Sequence[Trial], goal: Goal, most: int) -> tuple[Trial, ...]:
    """The fastest trials of the front that meet the goal, the fastest first."""
    meeting = [one for one in pareto(trials, goal) if one.outcome and goal.met(one.outcome)]
    return tuple(reversed(meeting))[:most]


def effects(best: Trial, goal: Goal, evaluate: Evaluate) -> tuple[Effect, ...]:
    """Change one setting of the best candidate at a time, in the settings' order."""
    if best.outcome is None:
        return ()
    return tuple(
        _effect(best, name, tried(best.number, changed, evaluate), goal)
        for name, changed in _neighbours(best.settings)
    )


def tried(number: int, settings: Settings, evaluate: Evaluate) -> Trial:
    """Try a candidate; what cannot be served is a trial without outcome."""
    try:
        return Trial(number=number, settings=settings, outcome=evaluate(settings))
    except (UsageError, NoSamplesError, BuildError, ServerError, LoadError) as error:
        return Trial(number=number, settings=settings, failure=str(error))


def _effect(best: Trial, name: str, other: Trial, goal: Goal) -> Effect:
    before, after = best.outcome, other.outcome
    change = after.throughput_tok_s / before.throughput_tok_s - 1 if before and after else None
    return Effect(
        setting=name,
        chosen=str(getattr(best.settings, name)),
        other=str(getattr(other.settings, name)),
        outcome=after,
        throughput_change=change,
        met=after is not None and goal.met(after),
        failure=other.failure,
    )


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
            round(settings.max_num_tokens * 0.9),
            round(settings.max_num_tokens * 1.1),
            MOST_NUM_TOKENS,
        ),
        "kv_cache_tokens": (settings.kv_cache_tokens // 4, settings.kv_cache_tokens * 4),
        "concurrency": (
            max(round(settings.concurrency * 0.9), 1),
            min(round(settings.concurrency * 1.1), MOST_CONCURRENCY),
        ),
    }
    for name, others in choices.items():
        for other in others:
            if other != getattr(settings, name):
                yield name, replace(settings, **{name: other})


def _by_latency(trial: Trial) -> tuple[float, float]:
    """Rising P95, the faster first where two are equal."""
    if trial.outcome is None:
        return (math.inf, 0.0)
    return (trial.outcome.latency_p95_s, -trial.outcome.throughput_tok_s)
