"""The decoder-only transformer: Llama's layer, random weights, a paged KV cache.

All requests' tokens of an iteration are packed into one row each, so each matrix is read once
whatever the iteration holds, as in TensorRT-LLM. The weights are random because nothing is asked
of the text: what an iteration costs depends on shapes and number formats alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from perfgate.hardware import ModelGeometry
from perfgate.model import Precision
from perfgate.reference import attention, pointwise
from perfgate.reference.linear import FP8, Linear, ObservedLinear, ScaledLinear

DTYPE = torch.float16
_DEVIATION = 0.02
_ROPE_BASE = 10000.0
_CALIBRATION_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The matrices of one layer; query, key and value are one product, gate and up another."""

    attention_norm: Tensor
    qkv: Linear
    output: Linear
    ffn_norm: Tensor
    gate_up: Linear
    down: Linear

    def with_linears(self, make: Callable[[Linear], Linear]) -> Layer:
        """The same layer with each matrix product made anew."""
        return replace(
            self,
            qkv=make(self.qkv),
            output=make(self.output),
            gate_up=make(self.gate_up),
            down=make(self.down),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """All weights of a decoder."""

    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Keys and values of every layer: [pages, page tokens, kv_heads, head_dim] each."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One iteration's packed tokens, as int32 tensors on the device.

    `ids`, `positions` and `sequences` (a row of `tables`) hold one entry a token; `last` names the
    tokens whose successor is asked for.
    """

    ids: Tensor
    positions: Tensor
    sequences: Tensor
    last: Tensor
    tables: Tensor


class Decoder:
    """Weights and cache, and the one function that runs them."""

    def __init__(
        self, geometry: ModelGeometry, weights: Weights, cache: Cache, *, max_positions: int
    ) -> None:
        self.geometry = geometry
        self.weights = weights
        self.cache = cache
        self._cos, self._sin = _rope_tables(geometry.head_dim, max_positions, weights.norm.device)
        on_gpu = weights.norm.is_cuda
        self._math = pointwise.compiled() if on_gpu else pointwise.EAGER
        self._kernels = _gpu_kernels() if on_gpu else attention

    def logits(self, inputs: Inputs) -> Tensor:
        """Run the packed tokens through all layers; returns [asked tokens, vocab]."""
        fused, weights = self._math, self.weights
        slots = self._slots(inputs)
        residual = weights.embedding[inputs.ids]
        delta = torch.zeros_like(residual)
        for index, layer in enumerate(weights.layers):
            residual, x = fused.add_norm(
                residual, delta, layer.attention_norm, layer.qkv.inverse_scale
            )
            attended = self._attention(index, layer.qkv(x), inputs, slots)
            delta = layer.output(fused.cast(attended, layer.output.inverse_scale))
            residual, x = fused.add_norm(
                residual, delta, layer.ffn_norm, layer.gate_up.inverse_scale
            )
            delta = layer.down(fused.gate(layer.gate_up(x), layer.down.inverse_scale))
        rows = inputs.last.long()
        _, x = fused.add_norm(residual[rows], delta[rows], weights.norm, None)
        return weights.head(x)

    def next_tokens(self, inputs: Inputs, *, vocab: int) -> Tensor:
        """The likeliest successor of each asked token among the first `vocab` ids, as int32."""
        return self.logits(inputs)[:, :vocab].argmax(dim=-1).to(torch.int32)

    def _attention(self, index: int, qkv: Tensor, inputs: Inputs, slots: Tensor) -> Tensor:
        keys, values = self.cache.keys[index], self.cache.values[index]
        query = self._kernels.rotate_and_store(
            qkv, self._cos, self._sin, inputs.positions, slots, keys, values
        )
        attended = self._kernels.paged_attention(
            query, keys, values, inputs.tables, inputs.sequences, inputs.positions
        )
        return attended.reshape(len(attended), -1)

    def _slots(self, inputs: Inputs) -> Tensor:
        page_tokens = self.cache.keys[0].shape[1]
        positions = inputs.positions.long()
        pages = inputs.tables[inputs.sequences.long(), positions // page_tokens].long()
        return pages * page_tokens + positions % page_tokens


def random_weights(geometry: ModelGeometry, *, seed: int, device: torch.device) -> Weights:
    """Draw all weights in 16 bits; the same seed gives the same weights on the same device."""
    generator = torch.Generator(device=device).manual_seed(seed)

    def draw(rows: int, columns: int, deviation: float = _DEVIATION) -> Tensor:
        drawn = torch.randn(rows, columns, generator=generator, device=device, dtype=DTYPE)
        return drawn.mul_(deviation)

    hidden, heads, kv_heads = geometry.hidden, geometry.heads, geometry.kv_heads
    width = heads * geometry.head_dim
    # What adds to the residual is drawn smaller, as in GPT-2 (Radford et al. 2019): else rounding
    # grows from layer to layer, and a random model would tell nothing of a number format.
    into_residual = _DEVIATION / math.sqrt(2 * geometry.layers)
    ones = torch.ones(hidden, device=device, dtype=DTYPE)
    layers = tuple(
        Layer(
            attention_norm=ones,
            qkv=Linear(draw((heads + 2 * kv_heads) * geometry.head_dim, hidden)),
            output=Linear(draw(hidden, width, into_residual)),
            ffn_norm=ones,
            gate_up=Linear(draw(2 * geometry.ffn, hidden)),
            down=Linear(draw(hidden, geometry.ffn, into_residual)),
        )
        for _ in range(geometry.layers)
    )
    embedding = draw(geometry.vocab, hidden, 1.0)
    return Weights(
        embedding=embedding, layers=layers, norm=ones, head=Linear(draw(geometry.vocab, hidden))
    )


def make_cache(
    geometry: ModelGeometry, precision: Precision, *, pages: int, page_tokens: int, device: Any
) -> Cache:
    """An empty cache; an FP8 engine's is FP8, unscaled: keys and values are of order one."""
    dtype = FP8 if precision is Precision.FP8 else DTYPE
    shape = (pages, page_tokens, geometry.kv_heads, geometry.head_dim)

    def empty() -> tuple[Tensor, ...]:
        return tuple(
            torch.zeros(shape, dtype=DTYPE, device=device).to(dtype) for _ in range(geometry.layers)
        )

    return Cache(keys=empty(), values=empty())


def quantise(geometry: ModelGeometry, weights: Weights, *, seed: int) -> Weights:
    """Turn every layer's products to FP8, with input scales seen on one random prompt.

    The output head stays at 16 bits, as TensorRT-LLM leaves it.
    """
    observed = replace(
        weights,
        layers=tuple(
            layer.with_linears(lambda one: ObservedLinear(one.weight)) for layer in weights.layers
        ),
    )
    _run_prompt(geometry, observed, seed=seed)
    scaled = tuple(layer.with_linears(_scaled) for layer in observed.layers)
    return replace(weights, layers=scaled)


def _scaled(one: Linear) -> Linear:
    if not isinstance(one, ObservedLinear):
        msg = "a product can be scaled only after its input was observed"
        raise TypeError(msg)
    return ScaledLinear(one.weight, one.largest)


def _run_prompt(geometry: ModelGeometry, weights: Weights, *, seed: int) -> None:
    device = weights.norm.device
    cache = make_cache(
        geometry, Precision.FP16, pages=1, page_tokens=_CALIBRATION_TOKENS, device=device
    )
    decoder = Decoder(geometry, weights, cache, max_positions=_CALIBRATION_TOKENS)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(geometry.vocab, (_CALIBRATION_TOKENS,), generator=generator)
    zeros = torch.zeros(_CALIBRATION_TOKENS, dtype=torch.int32)
    inputs = Inputs(
        ids=ids.to(device, torch.int32),
        positions=torch.arange(_CALIBRATION_TOKENS, dtype=torch.int32, device=device),
        sequences=zeros.to(device),
        last=zeros[:1].to(device),
        tables=torch.zeros((1, 1), dtype=torch.int32, device=device),
    )
    decoder.logits(inputs)


def _rope_tables(head_dim: int, positions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    # Su et al., "RoFormer", 2021; halves rotated as in Llama.
    frequencies = _ROPE_BASE ** (-torch.arange(0, head_dim, 2, device=device) / head_dim)
    angles = torch.arange(positions, device=device)[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()


def _gpu_kernels() -> Any:
    # Triton is there only where PyTorch was built for a GPU.
    from perfgate.reference import attention_kernel  # noqa: PLC0415

    return attention_kernel
