"""What one iteration costs on a GPU: a roofline with few physical parameters.

    step = (gemm + kv + attention) + overhead                       all times the profile's factor

    gemm      = max(weights / bandwidth x (1 + loss x M / (M + half)),  2 x parameters x M / flops)
    kv        = cached bytes read / bandwidth
    attention = 4 x layers x width x (query, key) pairs / flops       causal pairs with context FMHA

M is the number of tokens in the iteration: one for each generation request, all of a context
chunk. Weights are read once whatever M is, which is why batching pays. Bandwidth and flops are
peaks of the profile times fitted efficiencies. `loss` (FP8 only) says by how much the weight
reading slows down as M grows from the few rows of a decode kernel to the tiles of a batched one.

Without context FMHA the score matrix of each context goes to memory and back: a cost that is
quadratic in the prompt and does not touch generation.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfgate.hardware import HardwareProfile
from perfgate.model import EngineSpec, Precision
from perfgate.sim.steps import ContextChunk, Step

# Scores are written, normalised in place (read, written) and read again: 16-bit each time.
_SCORE_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds per unit of work for one engine on one GPU."""

    weights_s: float
    loss: float
    loss_half_tokens: float
    gemm_token_s: float
    kv_token_s: float
    pair_s: float
    score_s: float
    overhead_s: float
    factor: float

    def step_seconds(self, step: Step) -> float:
        """Time of one iteration in seconds."""
        tokens = len(step.generation)
        kv_tokens = sum(step.generation)
        attention = 0.0
        for chunk in step.context:
            tokens += chunk.tokens
            kv_tokens += chunk.past
            attention += self._attention_seconds(chunk)
        loss = self.loss * tokens / (tokens + self.loss_half_tokens)
        gemm = max(self.weights_s * (1 + loss), self.gemm_token_s * tokens)
        kv = self.kv_token_s * kv_tokens
        return self.factor * (gemm + kv + attention + self.overhead_s)

    def _attention_seconds(self, chunk: ContextChunk) -> float:
        causal = chunk.tokens * (chunk.past + (chunk.tokens + 1) / 2)
        whole = chunk.tokens * (chunk.past + chunk.tokens)
        return self.pair_s * (whole if self.score_s else causal) + self.score_s * whole


def cost_model(profile: HardwareProfile, engine: EngineSpec) -> CostModel:
    """Derive the cost of one engine's iterations from the profile's parameters."""
    simulation = profile.require_simulation()
    model, parameters = simulation.model, simulation.parameters
    bandwidth = profile.bandwidth_bytes_per_s * parameters.bandwidth_efficiency.value
    flops = profile.peak_flops[engine.precision] * parameters.compute_efficiency.value
    fp8 = engine.precision is Precision.FP8
    return CostModel(
        weights_s=model.weight_bytes(engine.precision) / bandwidth,
        loss=parameters.fp8_bandwidth_loss.value if fp8 else 0.0,
        loss_half_tokens=parameters.fp8_loss_half_tokens.value,
        gemm_token_s=2 * model.gemm_parameters / flops,
        kv_token_s=model.kv_bytes_per_token(engine.precision) / bandwidth,
        pair_s=4 * model.layers * model.heads * model.head_dim / flops,
        score_s=0.0
        if engine.context_fmha
        else _SCORE_BYTES * model.layers * model.heads / bandwidth,
        overhead_s=parameters.step_overhead_s.value,
        factor=simulation.step_time_factor,
    )
