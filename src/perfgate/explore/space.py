"""What the search may set, within what the hardware can hold: settings to operating points.

What is searched are the settings themselves but one. `max_num_tokens` limits generations and
context together, so that its best value moves with the concurrency; searched is `prompt_room`, the
part of it that a full batch leaves to contexts, whose best value does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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

ROOM = "prompt_room"
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

    def holds(self, value: object) -> bool:
        """Whether it may be that."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All candidates around one operating point, whose prompt and answer lengths they keep."""

    start: OperatingPoint
    profile: HardwareProfile

    @property
    def ranges(self) -> dict[str, Range]:
        """What each searched value may be."""
        load = self.start.workload
        return {
            "precision": Range(choices=_words(Precision)),
            "max_batch_size": Range(low=1, high=MOST_BATCH, log=True),
            ROOM: Range(low=1, high=MOST_NUM_TOKENS, log=True),
            "tokens_per_block": Range(choices=BLOCKS),
            "chunked_context": Range(choices=(False, True)),
            "scheduler_policy": Range(choices=_words(SchedulerPolicy)),
            "batching": Range(choices=_words(BatchingStrategy)),
            "kv_cache_tokens": Range(low=load.isl + load.osl, high=self.most_kv_tokens, log=True),
            "concurrency": Range(low=1, high=MOST_CONCURRENCY),
        }

    def settings(self, values: Mapping[str, object]) -> Settings:
        """The candidate of searched values; each candidate can run every request.

        A paused request runs its context again with all it has said, in one iteration where
        contexts are not chunked: `max_num_tokens` is never less than that.
        """
        load, chosen = self.start.workload, dict(values)
        batch = min(int(str(chosen["max_batch_size"])), int(str(chosen["concurrency"])))
        tokens = max(batch + int(str(chosen.pop(ROOM))), load.isl + load.osl)
        return codec.from_table(
            chosen | {"max_num_tokens": min(tokens, MOST_NUM_TOKENS)}, Settings, origin="settings"
        )

    def values(self, settings: Settings) -> dict[str, object]:
        """The searched values of a candidate: `settings` of them is the candidate again."""
        chosen = msgspec.to_builtins(settings)
        batch = min(settings.max_batch_size, settings.concurrency)
        chosen[ROOM] = chosen.pop("max_num_tokens") - batch
        return {name: chosen[name] for name in self.ranges}

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
    marks += ["chunked"] if settings.chunked_context else []
    marks += ["static"] if settings.batching is BatchingStrategy.STATIC else []
    marks += ["evict"] if settings.scheduler_policy is SchedulerPolicy.MAX_UTILIZATION else []
    return "-".join(marks)
