"""Output tokens of the simulated model: a fixed function of seed and position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the model will say: its tokens, and whether an end token follows them.

    As in TensorRT-LLM, the end token takes a step to produce but is neither sent nor counted.
    """

    tokens: tuple[int, ...]
    ended: bool


def draw_output(
    *, seed: int, max_tokens: int, vocab_size: int, end_id: int | None = None, min_tokens: int = 0
) -> Output:
    """Draw the tokens of one request, independent of how it is scheduled.

    An end token before `min_tokens` is suppressed: the next id of the vocabulary stands in for it.
    """
    drawn = _splitmix64(seed, max_tokens) % np.uint64(vocab_size)
    if end_id is None:
        return Output(tokens=tuple(drawn.tolist()), ended=False)
    hits = drawn == end_id
    early = hits & (np.arange(max_tokens) < min_tokens)
    drawn[early] = (end_id + 1) % vocab_size
    ends = np.flatnonzero(hits & ~early)
    length = int(ends[0]) if ends.size else max_tokens
    return Output(tokens=tuple(drawn[:length].tolist()), ended=bool(ends.size))


def _splitmix64(seed: int, count: int) -> npt.NDArray[np.uint64]:
    # Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = np.uint64(seed & _MASK) + golden * np.arange(1, count + 1, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
