"""What goes into the scheduler and what comes out of it: frozen values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRequest:
    """One request as the engine gets it: sizes and a seed, no text."""

    id: int
    prompt_tokens: int
    max_tokens: int
    min_tokens: int = 0
    end_id: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """The tokens of one iteration for one request.

    `tokens` is empty only where the request ended with an end token, which is not sent.
    """

    request_id: int
    tokens: tuple[int, ...]
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChunk:
    """Prompt tokens of one request run in one iteration, after `past` tokens already cached."""

    request_id: int
    tokens: int
    past: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One iteration: context chunks, and for each generation request the KV length it reads."""

    iteration: int
    context: tuple[ContextChunk, ...]
    generation: tuple[int, ...]

    @property
    def context_tokens(self) -> int:
        """Prompt tokens in this iteration."""
        return sum(chunk.tokens for chunk in self.context)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStats:
    """What TensorRT-LLM reports of its scheduler.

    `active` counts every request in the engine, `waiting` those without a place in the batch;
    `scheduled` to `paused` speak of the iteration in flight, and are 0 when there is none.
    """

    active: int
    waiting: int
    scheduled: int
    context: int
    generation: int
    context_tokens: int
    paused: int
    max_requests: int
    kv_blocks_max: int
    kv_blocks_free: int
    kv_blocks_used: int
    tokens_per_block: int
    iteration: int
