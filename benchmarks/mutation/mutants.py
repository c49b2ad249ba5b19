"""Seeded regressions: small changes of the simulated engine, its serving or its client path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from perfgate.model import BatchingStrategy, Precision, RequestRecord, SchedulerPolicy
from perfgate.sim.loop import StepCost
from perfgate.sim.steps import Step

MAIN = "fp8-b192-c160"
LONG = "long-prompts"  # 1024 prompt tokens, 64 output tokens: prefill counts
TIGHT = "tight-cache"  # half the KV cache: the scheduler counts


@dataclass(frozen=True)
class Mutant:
    """One regression: what it changes of the engine, the serving, the cost of a step or the path.

    `turnaround_s` is added to what passes between a request's end and the next one's arrival;
    `coalesce` tokens reach the client as one message.
    """

    name: str
    point: str = MAIN
    engine: dict[str, Any] = field(default_factory=dict)
    serving: dict[str, Any] = field(default_factory=dict)
    cost: Callable[[StepCost], StepCost] = lambda cost: cost
    turnaround_s: float = 0.0
    coalesce: int = 1


def slower(factor: float) -> Callable[[StepCost], StepCost]:
    """Every step takes `factor` times as long."""
    return lambda cost: lambda step: factor * cost(step)


def overhead(seconds: float) -> Callable[[StepCost], StepCost]:
    """Every step takes `seconds` longer: the host, not the GPU."""
    return lambda cost: lambda step: cost(step) + seconds


def prefill(factor: float) -> Callable[[StepCost], StepCost]:
    """Context chunks cost more; generation does not."""

    def mutated(cost: StepCost) -> StepCost:
        def step_cost(step: Step) -> float:
            whole = cost(step)
            alone = cost(replace(step, context=()))
            return alone + factor * (whole - alone)

        return step_cost

    return mutated


def cache_reads(factor: float) -> Callable[[StepCost], StepCost]:
    """Reading keys and values costs more, as with a 16-bit KV cache under an FP8 engine."""

    def mutated(cost: StepCost) -> StepCost:
        def step_cost(step: Step) -> float:
            whole = cost(step)
            unread = cost(replace(step, generation=tuple(0 for _ in step.generation)))
            return unread + factor * (whole - unread)

        return step_cost

    return mutated


def stall(every: int, seconds: float) -> Callable[[StepCost], StepCost]:
    """Every so many steps one takes `seconds` longer: garbage collection, logging, a lock."""
    return lambda cost: lambda step: cost(step) + seconds * (step.iteration % every == 0)


def late_warm_up(steps: int, factor: float) -> Callable[[StepCost], StepCost]:
    """The first `steps` iterations are slower: no CUDA graphs until much later."""
    return lambda cost: lambda step: cost(step) * (factor if step.iteration <= steps else 1.0)


def per_request(seconds: float) -> Callable[[StepCost], StepCost]:
    """Each running request adds to the step: detokenising in the loop."""
    return lambda cost: lambda step: cost(step) + seconds * len(step.generation)


MUTANTS = (
    *(
        Mutant(f"kernels {100 * (f - 1):.0f} % slower", cost=slower(f))
        for f in (1.03, 1.05, 1.07, 1.10)
    ),
    *(
        Mutant(f"{1e3 * s:g} ms of host work a step", cost=overhead(s))
        for s in (0.002, 0.004, 0.006)
    ),
    *(
        Mutant(f"{1e6 * s:g} us of detokenising a request and step", cost=per_request(s))
        for s in (15e-6, 30e-6, 60e-6)
    ),
    *(Mutant(f"{s:g} s of sleep in preprocessing", turnaround_s=s) for s in (0.25, 0.4, 0.6, 1.0)),
    *(
        Mutant(f"{s:g} s of queue delay in the dynamic batcher", turnaround_s=s, point=LONG)
        for s in (0.2, 0.5)
    ),
    *(
        Mutant(f"max_batch_size {b}", engine={"max_batch_size": b})
        for b in (152, 144, 128, 112, 96)
    ),
    Mutant("max_num_tokens 256", engine={"max_num_tokens": 256}),
    Mutant("max_num_tokens 1200 with long prompts", point=LONG, engine={"max_num_tokens": 1200}),
    Mutant("max_num_tokens 1056 with long prompts", point=LONG, engine={"max_num_tokens": 1056}),
    *(
        Mutant(f"KV cache of {t} tokens", serving={"kv_cache_tokens": t})
        for t in (38_000, 34_000, 30_000, 24_000)
    ),
    Mutant("FP8 falls back to FP16", engine={"precision": Precision.FP16}),
    Mutant(
        "FP8 falls back to FP16, long prompts", point=LONG, engine={"precision": Precision.FP16}
    ),
    Mutant("KV cache falls back to 16 bits", cost=cache_reads(2.0)),
    Mutant("context FMHA off", engine={"context_fmha": False}),
    Mutant("context FMHA off, long prompts", point=LONG, engine={"context_fmha": False}),
    Mutant("prefill 20 % slower, long prompts", point=LONG, cost=prefill(1.2)),
    Mutant("prefix cache off: prefill twice, long prompts", point=LONG, cost=prefill(2.0)),
    *(Mutant(f"chunks of {n} tokens coalesced", coalesce=n) for n in (4, 8, 16)),
    *(
        Mutant(f"a stall of {s:g} s every {e} steps", cost=stall(e, s))
        for e, s in ((50, 0.1), (50, 0.25), (200, 1.0))
    ),
    Mutant("static batching", serving={"batching": BatchingStrategy.STATIC}),
    Mutant(
        "scheduler policy max_utilization, tight cache",
        point=TIGHT,
        serving={"scheduler_policy": SchedulerPolicy.MAX_UTILIZATION},
    ),
    Mutant("warm-up over half of the window", cost=late_warm_up(500, 1.25)),
    Mutant("chunked context toggled", serving={"chunked_context": True}),
)


def coalesced(record: RequestRecord, count: int) -> RequestRecord:
    """The record as it is when the server sends `count` tokens a message."""
    if count == 1 or not record.arrivals_ns:
        return record
    ends = [*range(count - 1, len(record.arrivals_ns), count)]
    if not ends or ends[-1] != len(record.arrivals_ns) - 1:
        ends.append(len(record.arrivals_ns) - 1)
    starts = [0, *(end + 1 for end in ends[:-1])]
    return replace(
        record,
        arrivals_ns=tuple(record.arrivals_ns[end] for end in ends),
        tokens=tuple(
            sum(record.tokens[start : end + 1]) for start, end in zip(starts, ends, strict=True)
        ),
    )
