"""What is asked for: engines, serving, workloads, points and claims."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perfgate.errors import UsageError
from perfgate.model.checks import require_all_positive, require_name, require_positive
from perfgate.model.workload import Workload

SIMULATED_SUFFIX = "-sim"
"""Ends the name of simulated hardware, which has baselines of its own."""


class Target(StrEnum):
    """What stands behind Triton."""

    TRT_ENGINE = "trt-engine"
    LLMAPI = "llmapi"
    SIM = "sim"
    REFERENCE = "reference"
    REMOTE = "remote"


class Precision(StrEnum):
    """Number format of the engine's GEMM layers."""

    FP16 = "fp16"
    FP8 = "fp8"


class SchedulerPolicy(StrEnum):
    """How TensorRT-LLM admits requests when KV-cache blocks run short."""

    GUARANTEED_NO_EVICT = "guaranteed_no_evict"
    MAX_UTILIZATION = "max_utilization"


class BatchingStrategy(StrEnum):
    """Whether requests join and leave the running batch (in-flight) or wait for all of it (V1)."""

    INFLIGHT = "inflight_fused_batching"
    STATIC = "V1"


class Protocol(StrEnum):
    """How a server is asked for tokens, and streams them."""

    GRPC = "grpc"  # KServe v2 streaming over gRPC
    HTTP = "http"  # Triton's generate extension: server-sent events over HTTP/1.1
    OPENAI = "openai"  # OpenAI's completions: likewise, from servers that are no Triton too


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an engine build is asked for: everything that changes the engine file."""

    model: str
    precision: Precision
    max_batch_size: int
    max_input_len: int
    max_seq_len: int
    max_num_tokens: int
    tokens_per_block: int = 32
    context_fmha: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes no engine can have."""
        require_name("model", self.model)
        for name in (
            "max_batch_size",
            "max_input_len",
            "max_seq_len",
            "max_num_tokens",
            "tokens_per_block",
        ):
            require_positive(name, getattr(self, name))
        if self.max_seq_len <= self.max_input_len:
            rule = f"it must exceed max_input_len ({self.max_input_len}) to leave room for output"
            raise UsageError("max_seq_len", self.max_seq_len, rule)

    @property
    def name(self) -> str:
        """A short name for tables, such as `fp8-b192` or `fp16-b16-nofmha`."""
        suffix = "" if self.context_fmha else "-nofmha"
        return f"{self.precision}-b{self.max_batch_size}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpec:
    """How the engine is scheduled while it serves: the engine file stays the same."""

    kv_cache_tokens: int
    scheduler_policy: SchedulerPolicy = SchedulerPolicy.GUARANTEED_NO_EVICT
    batching: BatchingStrategy = BatchingStrategy.INFLIGHT
    chunked_context: bool = False

    def __post_init__(self) -> None:
        """Refuse a KV cache of no size: on unified memory it must be pinned, never guessed."""
        require_positive("kv_cache_tokens", self.kv_cache_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much of the steady state is measured: `rounds` windows of `round_requests` each.

    Before them, in a closed loop, each client ends `ramp` requests: one fills the engine; where
    requests queue, the queue takes a second to build up. An open loop is warmed up for `ramp`
    rounds. A round ends early after `round_seconds`. With `half_width`, rounds go on, up to
    `max_rounds`, until the 95 % interval of the request rate is that share of it to both sides.
    """

    rounds: int
    round_requests: int
    ramp: int = 1
    round_seconds: float | None = None
    half_width: float | None = None
    max_rounds: int | None = None

    def __post_init__(self) -> None:
        """Refuse to measure nothing, or without an end."""
        require_positive("rounds", self.rounds)
        require_positive("round_requests", self.round_requests)
        require_positive("ramp", self.ramp)
        require_all_positive(self, "round_seconds", "half_width")
        if (self.half_width is None) != (self.max_rounds is None):
            rule = "half_width says when to stop, max_rounds when to give up: both or neither"
            raise UsageError("max_rounds", self.max_rounds, rule)
        if self.max_rounds is not None and self.max_rounds < self.rounds:
            rule = f"it must not be under rounds ({self.rounds})"
            raise UsageError("max_rounds", self.max_rounds, rule)

    @property
    def most_rounds(self) -> int:
        """Rounds that may come at most."""
        return self.rounds if self.max_rounds is None else self.max_rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlacement:
    """Where load comes from: how many worker processes, and on which machines.

    `workers` is None for as many as a load needs. `ray` is the address of a Ray cluster whose nodes
    drive the load, "auto" for the one that this machine belongs to; None for this machine alone.
    """

    workers: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        """Refuse a load that nobody drives."""
        if self.workers is not None:
            require_positive("workers", self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a source says a point reaches: the floor and ceiling a first baseline starts from.

    `hardware` is the profile it speaks of; it holds there and on that hardware's simulation.
    """

    hardware: str
    floor_tok_s: float | None = None
    ceiling_p95_s: float | None = None
    source: str

    def __post_init__(self) -> None:
        """Refuse a claim of nothing."""
        require_name("hardware", self.hardware)
        require_all_positive(self, "floor_tok_s", "ceiling_p95_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What each request is held to (an SLO), in seconds: the limits that are set, all of them.

    `itl_s` limits the largest gap of a request, `tpot_s` its mean one.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    itl_s: float | None = None
    latency_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse an objective of nothing: every request would meet it."""
        limits = (self.ttft_s, self.tpot_s, self.itl_s, self.latency_s)
        if all(limit is None for limit in limits):
            raise UsageError("objective", "{}", "set ttft_s, tpot_s, itl_s or latency_s")
        require_all_positive(self, "ttft_s", "tpot_s", "itl_s", "latency_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One engine under one load, with a name that tests, tables and baselines share.

    A point that is not `gated` has no baseline of its own: it is measured to be compared with
    another point of the same run. `protocol` is how a server of the suite's own is asked; a remote
    one is asked as its URL says.
    """

    id: str
    engine: EngineSpec
    serving: ServingSpec
    workload: Workload
    sampling: Sampling
    claim: Claim | None = None
    objective: Objective | None = None
    gated: bool = True
    protocol: Protocol = Protocol.GRPC

    def __post_init__(self) -> None:
        """Refuse a point whose requests cannot fit its engine."""
        require_name("id", self.id)
        if self.protocol is Protocol.OPENAI:
            rule = (
                "Triton is asked by grpc or http; an OpenAI-compatible server by its --triton-url"
            )
            raise UsageError("protocol", str(self.protocol), rule)
        load, engine = self.workload, self.engine
        if load.longest_prompt > engine.max_input_len:
            rule = f"engine {engine.name} takes at most {engine.max_input_len} input tokens"
            raise UsageError("isl", load.longest_prompt, rule)
        if load.most_tokens > engine.max_seq_len:
            rule = f"isl + osl must fit the engine's max_seq_len ({engine.max_seq_len})"
            raise UsageError("osl", load.osl, rule)

    def claim_on(self, hardware: str) -> Claim | None:
        """The claim, if it speaks of `hardware`, a name that baselines are kept under."""
        if self.claim and hardware.removesuffix(SIMULATED_SUFFIX) == self.claim.hardware:
            return self.claim
        return None


class ComparisonKind(StrEnum):
    """What two points measured in one run are asked about each other."""

    SPEEDUP = "speedup"  # the first reaches a stated multiple of the second's throughput
    EQUAL_TPOT = "equal-tpot"  # both decode equally fast
    STARVED = "starved"  # the first shows a batch too small for its load, the second does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A question about two points of the same run; its thresholds stand in the Policy."""

    id: str
    kind: ComparisonKind
    point: str
    against: str
