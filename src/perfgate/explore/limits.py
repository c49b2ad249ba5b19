"""What the hardware allows under a ceiling, and what an iteration's time is made of.

Of `osl` + 1 iterations of a request one waits, one runs the context and yields the first token, and
the rest yield a token each. With C requests in flight an average iteration therefore holds

    C (osl - 1) / (osl + 1) generations      C isl / (osl + 1) context tokens

and no order of them makes the average iteration shorter than the cost of an average one, where the
cost of reading weights and multiplying is replaced by its lower convex envelope (Jensen).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from perfgate.hardware import CostParameters, HardwareProfile
from perfgate.model import OperatingPoint, Workload
from perfgate.sim.cost import CostModel, cost_model
from perfgate.sim.fit import schedule
from perfgate.sim.steps import ContextChunk, Step

_EFFICIENCIES = ("bandwidth_efficiency", "compute_efficiency")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """Mean seconds of an iteration by cause; they add up to the iteration.

    `compute_s` is what multiplying takes longer than reading the weights does, `loss_s` what
    reading takes longer than at the bandwidth of small batches.
    """

    weights_s: float
    loss_s: float
    compute_s: float
    kv_s: float
    attention_s: float
    overhead_s: float

    @property
    def step_s(self) -> float:
        """The whole iteration."""
        return math.fsum(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """Where a point's mean iteration goes; `prefill_s` is what it would save without contexts."""

    point: str
    tokens: float
    parts: StepParts
    step_s: float
    prefill_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that fits under the ceiling, at which concurrency, and in what iteration."""

    name: str
    throughput_tok_s: float
    concurrency: int
    parts: StepParts
    step_s: float


def decompose(profile: HardwareProfile, point: OperatingPoint) -> Decomposition:
    """Take the point's steady iterations apart."""
    cost = cost_model(profile, point.engine)
    steps = schedule(point).steps
    each = [_parts_of(cost, step) for step in steps]
    alone = [dataclasses.replace(step, context=()) for step in steps]
    prefill_s = sum(map(cost.step_seconds, steps)) - sum(map(cost.step_seconds, alone))
    parts = StepParts(
        **{
            field.name: sum(getattr(one, field.name) for one in each) / len(each)
            for field in dataclasses.fields(StepParts)
        }
    )
    return Decomposition(
        point=point.id,
        tokens=sum(len(step.generation) + step.context_tokens for step in steps) / len(steps),
        parts=parts,
        step_s=parts.step_s,
        prefill_s=prefill_s / len(steps),
    )


def limits(
    profile: HardwareProfile, start: OperatingPoint, ceiling_s: float, *, most: int
) -> tuple[Limit, ...]:
    """The limit under `ceiling_s` as the hardware is fitted, and what each loss takes from it.

    The first is the profile as it is, the last one perfect kernels at peak rates; between them
    each parameter of the cost model stands alone at the better end of its bounds. `most` is the
    highest concurrency that counts.
    """
    named = [("as fitted", profile)]
    named += [
        (f"{name} {better:g}", _with(profile, **{name: better}))
        for name, better in _better_ends(profile.require_simulation().parameters)
    ]
    perfect = cost_model(profile, start.engine)
    bandwidth, compute = (
        getattr(profile.require_simulation().parameters, name).value for name in _EFFICIENCIES
    )
    perfect = dataclasses.replace(
        perfect,
        loss=0.0,
        overhead_s=0.0,
        weights_s=perfect.weights_s * bandwidth,
        kv_token_s=perfect.kv_token_s * bandwidth,
        gemm_token_s=perfect.gemm_token_s * compute,
        pair_s=perfect.pair_s * compute,
    )
    models = [(name, cost_model(one, start.engine)) for name, one in named]
    models.append(("perfect kernels", perfect))
    return tuple(_limit(name, cost, start.workload, ceiling_s, most=most) for name, cost in models)


def _limit(name: str, cost: CostModel, load: Workload, ceiling_s: float, *, most: int) -> Limit:
    """The highest concurrency whose requests take no longer than the ceiling."""
    concurrency = 1
    while concurrency < most and _latency_s(cost, load, concurrency + 1) <= ceiling_s:
        concurrency += 1
    parts = _average(cost, load, concurrency)
    return Limit(
        name=name,
        throughput_tok_s=concurrency * load.osl / ((load.osl + 1) * parts.step_s),
        concurrency=concurrency,
        parts=parts,
        step_s=parts.step_s,
    )


def _latency_s(cost: CostModel, load: Workload, concurrency: int) -> float:
    return (load.osl + 1) * _average(cost, load, concurrency).step_s


def _average(cost: CostModel, load: Workload, concurrency: int) -> StepParts:
    """The shortest mean iteration that any order of the work allows."""
    share = concurrency / (load.osl + 1)
    generations = share * (load.osl - 1)
    chunk = Step(
        iteration=0,
        context=(ContextChunk(request_id=0, tokens=load.isl, past=0),),
        generation=(),
    )
    attention_s = share * _parts_of(cost, chunk).attention_s
    tokens = generations + share * load.isl
    kv_tokens = generations * (load.isl + (load.osl + 1) / 2)
    return _parts(cost, tokens, kv_tokens, attention_s, gemm_s=_envelope(cost, tokens))


def _envelope(cost: CostModel, tokens: float) -> float:
    """The lower convex envelope of the GEMM time over the tokens of an iteration.

    Reading is concave in the tokens, multiplying is linear and overtakes it once: up to there the
    envelope is the chord from nothing.
    """
    crossing = _crossing(cost)
    if tokens >= crossing:
        return cost.gemm_token_s * tokens
    chord = (cost.gemm_token_s * crossing - cost.weights_s) / crossing
    return cost.weights_s + chord * tokens


def _crossing(cost: CostModel) -> float:
    """Tokens from which multiplying takes longer than reading: the root of a quadratic.

    weights (1 + loss M / (M + half)) = gemm M
    """
    g, w, half = cost.gemm_token_s, cost.weights_s, cost.loss_half_tokens
    b = g * half - w * (1 + cost.loss)
    return float((-b + (b * b + 4 * g * w * half) ** 0.5) / (2 * g))


def _parts_of(cost: CostModel, step: Step) -> StepParts:
    tokens = len(step.generation) + step.context_tokens
    kv_tokens = sum(step.generation) + sum(chunk.past for chunk in step.context)
    bare = dataclasses.replace(step, context=(), generation=())
    contexts = dataclasses.replace(step, generation=())
    # Of contexts alone without their weights, only attention is left.
    free = dataclasses.replace(
        cost, weights_s=0.0, loss=0.0, gemm_token_s=0.0, kv_token_s=0.0, overhead_s=0.0
    )
    attention_s = free.step_seconds(contexts) - free.step_seconds(bare)
    return _parts(cost, tokens, kv_tokens, attention_s / cost.factor)


def _parts(
    cost: CostModel,
    tokens: float,
    kv_tokens: float,
    attention_s: float,
    *,
    gemm_s: float | None = None,
) -> StepParts:
    reading = cost.weights_s * (1 + cost.loss * tokens / (tokens + cost.loss_half_tokens))
    gemm = max(reading, cost.gemm_token_s * tokens) if gemm_s is None else gemm_s
    reading = min(reading, gemm)
    return StepParts(
        weights_s=cost.factor * cost.weights_s,
        loss_s=cost.factor * (reading - cost.weights_s),
        compute_s=cost.factor * (gemm - reading),
        kv_s=cost.factor * cost.kv_token_s * kv_tokens,
        attention_s=cost.factor * attention_s,
        overhead_s=cost.factor * cost.overhead_s,
    )


def _better_ends(parameters: CostParameters) -> Sequence[tuple[str, float]]:
    return [
        (field.name, parameter.high if field.name in _EFFICIENCIES else parameter.low)
        for field in dataclasses.fields(parameters)
        # The half point only shapes the loss; at no loss it is gone.
        if (parameter := getattr(parameters, field.name)) and field.name != "fp8_loss_half_tokens"
    ]


def _with(profile: HardwareProfile, **values: float) -> HardwareProfile:
    simulation = profile.require_simulation()
    changed = {
        name: dataclasses.replace(getattr(simulation.parameters, name), value=value)
        for name, value in values.items()
    }
    parameters = dataclasses.replace(simulation.parameters, **changed)
    return dataclasses.replace(
        profile, simulation=dataclasses.replace(simulation, parameters=parameters)
    )
