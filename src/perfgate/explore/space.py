"""What the search may set, within what the hardware can hold: settings to operating points.

Three settings are worth what they are only beside the concurrency. Searched are their ratios to
what the load needs, so that a good value stays good where the concurrency changes:

    slots        max_batch_size / concurrency
    prompt_room  what a full batch leaves of max_num_tokens / mean context tokens of an iteration
    kv_room      kv_cache_tokens / tokens of all requests in flight, each at its full length
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from perfgate import codec
from perfgate.hardware import HardwareProfile
from perfgate.model import (
    BatchingStrategy,
    OperatingPoint,
    Precision,
    Sampling,
    SchedulerPolicy,
)

SLOTS, PROMPT_ROOM, KV_ROOM = "slots", "prompt_room", "kv_room"
MOST_BATCH = 256
MOST_CONCURRENCY = 256
MOST_NUM_TOKENS = 8192
KV_SHARE = 0.8  # of what the weights leave of the memory: the rest is activations and the host
# Blocks that TensorRT-LLM builds for; a chunk of a context ends at a block's border.
BLOCKS = (16, 32, 64, 128)

_ROUNDS = 4
_RAMP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One candidate."""

    precision: Precision
    max_batch_size: int
    max_num_tokens: int
    tokens_per_block: int
    chunked_context: bool
    scheduler_policy: SchedulerPolicy
    batching: BatchingStrategy
    kv_cache_tokens: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What one setting may be: one of `choices`, or a number from `low` to `high`.

    `log` spreads the numbers evenly by ratio instead of by difference.
    """

    choices: tuple[str | int | bool, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int)

    def nearest(self, value: Any) -> Any:
        """The value itself, or the end of the range that it lies beyond."""
        return value if self.choices else min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All candidates around one operating point, whose prompt and answer lengths they keep."""

    start: OperatingPoint
    profile: HardwareProfile

    @property
    def ranges(self) -> dict[str, Range]:
        """What each searched value may be; the concurrency is found for each candidate."""
        return {
            SLOTS: Range(low=0.5, high=2.0, log=True),
            PROMPT_ROOM: Range(low=0.5, high=64.0, log=True),
            KV_ROOM: Range(low=0.25, high=16.0, log=True),
            "precision": Range(choices=_words(Precision)),
            "tokens_per_block": Range(choices=BLOCKS),
            "chunked_context": Range(choices=(False, True)),
            "scheduler_policy": Range(choices=_words(SchedulerPolicy)),
            "batching": Range(choices=_words(BatchingStrategy)),
        }

    def settings(self, values: Mapping[str, object], concurrency: int) -> Settings:
        """The candidate of searched values at a concurrency; it can run every request.

        A paused request runs its context again with all it has said, in one iteration where
        contexts are not chunked: `max_num_tokens` is never less than that, nor than a block; the
        KV cache holds the blocks of one request at least.
        """
        load, chosen = self.start.workload, dict(values)
        slots, prompt_room, kv_room = (
            float(str(chosen.pop(name))) for name in (SLOTS, PROMPT_ROOM, KV_ROOM)
        )
        batch = min(max(round(slots * concurrency), 1), MOST_BATCH)
        room = round(prompt_room * self._mean_context(concurrency))
        tokens = min(batch, concurrency) + room
        block = int(str(chosen["tokens_per_block"]))
        whole = -(-(load.isl + load.osl) // block)
        kv = round(kv_room * concurrency * (load.isl + load.osl))
        chosen |= {
            "concurrency": concurrency,
            "max_batch_size": batch,
            "max_num_tokens": max(min(tokens, MOST_NUM_TOKENS), load.isl + load.osl, block),
            "kv_cache_tokens": max(min(kv, self.most_kv_tokens), whole * block),
        }
        return codec.from_table(chosen, Settings, origin="settings")

    def values(self, settings: Settings) -> dict[str, object]:
        """The searched values of a candidate: at its concurrency `settings` makes it of them."""
        chosen: dict[str, Any] = msgspec.to_builtins(settings)
        load = self.start.workload
        batch, clients = chosen.pop("max_batch_size"), chosen.pop("concurrency")
        room = chosen.pop("max_num_tokens") - min(batch, clients)
        ratios = {
            SLOTS: batch / clients,
            PROMPT_ROOM: room / self._mean_context(clients),
            KV_ROOM: chosen.pop("kv_cache_tokens") / (clients * (load.isl + load.osl)),
        }
        return chosen | ratios

    def _mean_context(self, clients: int) -> float:
        return clients * self.start.workload.isl / self.start.workload.osl

    def point(self, settings: Settings) -> OperatingPoint:
        """The operating point of a candidate, under a name that tells it apart."""
        start, load = self.start, self.start.workload
        engine = dataclasses.replace(
            start.engine,
            precision=settings.precision,
            max_batch_size=settings.max_batch_size,
            max_num_tokens=settings.max_num_tokens,
            tokens_per_block=settings.tokens_per_block,
        )
        serving = dataclasses.replace(
            start.serving,
            kv_cache_tokens=settings.kv_cache_tokens,
            scheduler_policy=settings.scheduler_policy,
            batching=settings.batching,
            chunked_context=settings.chunked_context,
        )
        return OperatingPoint(
            id=_name(settings),
            engine=engine,
            serving=serving,
            workload=dataclasses.replace(load, concurrency=settings.concurrency),
            sampling=Sampling(
                rounds=_ROUNDS, round_requests=max(-(-settings.concurrency // 2), 15), ramp=_RAMP
            ),
        )

    @property
    def most_kv_tokens(self) -> int:
        """The largest KV cache: what fits beside the weights at either precision.

        Of hardware without a model of it nothing is known but that today's cache fits.
        """
        if self.profile.simulation is None:
            return self.start.serving.kv_cache_tokens
        model, memory = self.profile.simulation.model, self.profile.memory_bytes
        return min(
            int(KV_SHARE * (memory - model.weight_bytes(one)) / model.kv_bytes_per_token(one))
            for one in Precision
        )

    def settings_of(self, point: OperatingPoint) -> Settings:
        """The candidate that an operating point is."""
        return Settings(
            precision=point.engine.precision,
            max_batch_size=point.engine.max_batch_size,
            max_num_tokens=point.engine.max_num_tokens,
            tokens_per_block=point.engine.tokens_per_block,
            chunked_context=point.serving.chunked_context,
            scheduler_policy=point.serving.scheduler_policy,
            batching=point.serving.batching,
            kv_cache_tokens=point.serving.kv_cache_tokens,
            concurrency=point.workload.concurrency,
        )


def _words(kind: type[StrEnum]) -> tuple[str, ...]:
    return tuple(one.value for one in kind)


def _name(settings: Settings) -> str:
    marks = [
        f"{settings.precision}-b{settings.max_batch_size}-c{settings.concurrency}",
        f"t{settings.max_num_tokens}",
        f"k{settings.tokens_per_block}",
    ]
    marks += [f"kv{settings.kv_cache_tokens}"]
    marks += ["chunked"] if settings.chunked_context else []
    marks += ["static"] if settings.batching is BatchingStrategy.STATIC else []
    marks += ["evict"] if settings.scheduler_policy is SchedulerPolicy.MAX_UTILIZATION else []
    return "-".join(marks)
