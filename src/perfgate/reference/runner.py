"""Runs packed iterations on a device: CUDA graphs on a GPU, plain calls on a CPU."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import torch

from perfgate.reference.batch import Ints, Packed
from perfgate.reference.decoder import Decoder, Inputs

# Tokens an iteration is filled up to: fine where decoding happens, coarse for prompts. The least
# is no smaller than a tensor core's tile, so nothing is gained by going below.
_BUCKETS = (8, *range(16, 128, 16), *range(128, 512, 32), *range(512, 1025, 64))
_WARM_UPS = 2


class Runner:
    """One decoder on one device.

    `launch` hands an iteration over and returns while it runs; `tokens` waits for its result.
    Iterations of up to `graph_tokens` tokens are replayed from CUDA graphs, one for each size in
    `buckets`, because launching a few hundred small kernels from Python takes longer than running
    them; longer ones, all prompts, are launched kernel by kernel.
    """

    def __init__(
        self, decoder: Decoder, *, max_tokens: int, max_asked: int, tables: Ints, vocab: int
    ) -> None:
        self._decoder = decoder
        self._vocab = vocab
        self._device = decoder.weights.norm.device
        self._on_gpu = self._device.type == "cuda"
        self._spare_row = len(tables) - 1
        self._max_asked = max_asked
        self.buckets = tuple(size for size in _BUCKETS if size <= max_tokens)
        self._graphs: dict[int, tuple[Any, torch.Tensor]] = {}
        size = max(max_tokens, *self.buckets, 1)
        self._host = torch.zeros(3 * size + max_asked, dtype=torch.int32, pin_memory=self._on_gpu)
        self._packed = torch.zeros_like(self._host, device=self._device)
        self._tables = torch.from_numpy(tables).to(self._device)
        self._host_tables = torch.zeros(tables.shape, dtype=torch.int32, pin_memory=self._on_gpu)
        self._result = torch.zeros(max_asked, dtype=torch.int32, pin_memory=self._on_gpu)
        self._done = torch.cuda.Event() if self._on_gpu else None
        self._asked = 0

    def capture(self) -> None:
        """Capture the graphs, largest first, so that the smaller ones share its memory."""
        if not self._on_gpu:
            return
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()
        for size in reversed(self.buckets):
            with torch.inference_mode(), torch.cuda.stream(stream):
                self._fill_up(size, 0, 0)
                for _ in range(_WARM_UPS):
                    self._compute(size)
                stream.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool, stream=stream):
                    tokens = self._compute(size)
            self._graphs[size] = (graph, tokens)
        torch.cuda.synchronize()

    def launch(self, packed: Packed, tables: Ints) -> None:
        """Start an iteration; `tables` may be changed as soon as this returns."""
        tokens, asked = len(packed.ids), len(packed.last)
        size = self._size(tokens)
        host = self._host.numpy()
        for part, values in enumerate((packed.ids, packed.positions, packed.sequences)):
            host[part * size : part * size + tokens] = values
        host[3 * size : 3 * size + asked] = packed.last
        self._fill_up(size, tokens, asked)
        np.copyto(self._host_tables.numpy(), tables)
        with torch.inference_mode():
            self._tables.copy_(self._host_tables, non_blocking=True)
            result = self._run(size)
            self._result[: len(result)].copy_(result, non_blocking=True)
        self._asked = asked
        if self._done is not None:
            self._done.record()

    def tokens(self) -> list[int]:
        """Wait for the iteration and return the asked tokens' successors."""
        if self._done is not None:
            self._done.synchronize()  # releases the interpreter, so that answers are sent meanwhile
        found: list[int] = self._result[: self._asked].tolist()
        return found

    def _size(self, tokens: int) -> int:
        at = bisect.bisect_left(self.buckets, tokens)
        fits = self._on_gpu and at < len(self.buckets)
        return self.buckets[at] if fits else tokens

    def _fill_up(self, size: int, tokens: int, asked: int) -> None:
        """Let the entries after the real ones belong to nobody, and send all to the device."""
        host = self._host.numpy()
        for part, value in enumerate((0, 0, self._spare_row)):
            host[part * size + tokens : (part + 1) * size] = value
        end = 3 * size + self._rows_asked(size)
        host[3 * size + asked : end] = 0
        self._packed[:end].copy_(self._host[:end], non_blocking=True)

    def _run(self, size: int) -> torch.Tensor:
        if size in self._graphs:
            graph, tokens = self._graphs[size]
            graph.replay()
            return tokens
        return self._compute(size)

    def _compute(self, size: int) -> torch.Tensor:
        ids, positions, sequences = self._packed[: 3 * size].view(3, size)
        inputs = Inputs(
            ids=ids,
            positions=positions,
            sequences=sequences,
            last=self._packed[3 * size : 3 * size + self._rows_asked(size)],
            tables=self._tables,
        )
        return self._decoder.next_tokens(inputs, vocab=self._vocab)

    def _rows_asked(self, size: int) -> int:
        return min(size, self._max_asked)
