"""What stands between the matrix products: elementwise, fused by `torch.compile` on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from perfgate.reference.linear import FP8, FP8_MAX

_EPSILON = 1e-5


def add_norm(
    residual: Tensor, delta: Tensor, weight: Tensor, inverse_scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Add to the residual and normalise it (RMSNorm): new residual, next product's input."""
    total = residual + delta
    wide = total.float()
    normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + _EPSILON)
    return total, _cast(normed * weight.float(), inverse_scale, total.dtype)


def gate(gate_up: Tensor, inverse_scale: Tensor | None) -> Tensor:
    """SwiGLU: SiLU of the first half of the columns times the second."""
    gates, ups = gate_up.chunk(2, dim=-1)
    wide = torch.nn.functional.silu(gates.float()) * ups.float()
    return _cast(wide, inverse_scale, gate_up.dtype)


def cast(x: Tensor, inverse_scale: Tensor | None) -> Tensor:
    """Cast a product's input to its number format."""
    return x if inverse_scale is None else _cast(x.float(), inverse_scale, x.dtype)


def _cast(wide: Tensor, inverse_scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    if inverse_scale is None:
        return wide.to(dtype)
    # A cast to e4m3 does not saturate by itself.
    return (wide * inverse_scale).clamp(-FP8_MAX, FP8_MAX).to(FP8)


@dataclass(frozen=True, slots=True)
class Math:
    """The functions above, as they are or compiled."""

    add_norm: Callable[..., tuple[Tensor, Tensor]]
    gate: Callable[..., Tensor]
    cast: Callable[..., Tensor]


EAGER = Math(add_norm, gate, cast)


@functools.cache
def compiled() -> Math:
    """Each function as one kernel or two, for any number of tokens from two on."""
    return Math(*(torch.compile(one, dynamic=True) for one in (add_norm, gate, cast)))
