"""Matrix products of a decoder: 16-bit ones, and FP8 ones with a scale for each tensor."""

from __future__ import annotations

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max


class Linear:
    """y = x W^T in 16 bits; `weight` is [out, in]."""

    inverse_scale: Tensor | None = None
    """What the caller multiplies the input with before it casts it to FP8; None stays 16-bit."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply [rows, in] to [rows, out]."""
        return torch.nn.functional.linear(x, self.weight)


class ObservedLinear(Linear):
    """A 16-bit product that notes the largest magnitude of its input."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.largest = torch.zeros((), device=weight.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply, and note."""
        self.largest = torch.maximum(self.largest, x.abs().max().float())
        return super().__call__(x)


class ScaledLinear(Linear):
    """y = x W^T in FP8 (e4m3), one scale for the weights and a calibrated one for the input.

    This is TensorRT-LLM's and ModelOpt's per-tensor FP8: static scales, so that casting an input
    needs no pass over it first. The input comes cast, the result is 16-bit.
    """

    def __init__(self, weight: Tensor, largest_input: Tensor) -> None:
        largest = weight.abs().max().float()
        super().__init__((weight.float() * (FP8_MAX / largest)).to(FP8))
        self._weight_scale = largest / FP8_MAX
        self._input_scale = largest_input / FP8_MAX
        self.inverse_scale = FP8_MAX / largest_input
        self._out_dtype = weight.dtype

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply [rows, in] in FP8 to [rows, out] in 16 bits."""
        return torch._scaled_mm(  # noqa: SLF001 - PyTorch's only scaled product for all its releases
            x,
            self.weight.t(),
            scale_a=self._input_scale,
            scale_b=self._weight_scale,
            out_dtype=self._out_dtype,
            use_fast_accum=True,
        )
