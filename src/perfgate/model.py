"""The glossary: every noun of perfgate, in the order in which a measurement flows.

    EngineSpec --build--> Engine --serve--> Server
    Workload + Server --run--> LoadRun --measure--> Measurement
    Measurement + Baseline + Policy --judge--> Judgement --render--> Report

All are frozen values. Times inside records are integer nanoseconds of the monotonic clock
(`time.perf_counter_ns`); derived quantities are floats in the unit that ends the field's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from perfgate.errors import UsageError

# --- What is asked for ----------------------------------------------------------------------


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
        _require_name("model", self.model)
        for name in (
            "max_batch_size",
            "max_input_len",
            "max_seq_len",
            "max_num_tokens",
            "tokens_per_block",
        ):
            _require_positive(name, getattr(self, name))
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
        _require_positive("kv_cache_tokens", self.kv_cache_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Closed-loop load: `concurrency` clients, each with one request in flight at all times."""

    concurrency: int
    isl: int
    osl: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a load of nothing."""
        for name in ("concurrency", "isl", "osl"):
            _require_positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much of the steady state is measured: `rounds` windows of `round_requests` each.

    Before them each client ends `ramp` requests. One fills the engine; where requests queue, the
    queue takes a second to build up.
    """

    rounds: int
    round_requests: int
    ramp: int = 1

    def __post_init__(self) -> None:
        """Refuse to measure nothing."""
        _require_positive("rounds", self.rounds)
        _require_positive("round_requests", self.round_requests)
        _require_positive("ramp", self.ramp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a source says a point reaches: the floor and ceiling a first baseline starts from."""

    floor_tok_s: float | None = None
    ceiling_p95_s: float | None = None
    source: str

    def __post_init__(self) -> None:
        """Refuse a claim of nothing."""
        _require_all_positive(self, "floor_tok_s", "ceiling_p95_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One engine under one load, with a name that tests, tables and baselines share.

    A point that is not `gated` has no baseline of its own: it is measured to be compared with
    another point of the same run.
    """

    id: str
    engine: EngineSpec
    serving: ServingSpec
    workload: Workload
    sampling: Sampling
    claim: Claim | None = None
    gated: bool = True

    def __post_init__(self) -> None:
        """Refuse a point whose requests cannot fit its engine."""
        _require_name("id", self.id)
        if self.workload.isl > self.engine.max_input_len:
            rule = (
                f"engine {self.engine.name} takes at most {self.engine.max_input_len} input tokens"
            )
            raise UsageError("isl", self.workload.isl, rule)
        if self.workload.isl + self.workload.osl > self.engine.max_seq_len:
            rule = f"isl + osl must fit the engine's max_seq_len ({self.engine.max_seq_len})"
            raise UsageError("osl", self.workload.osl, rule)


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


# --- What is built and booted ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A built engine: where it lies, what it was asked to be, and the digest that names it."""

    spec: EngineSpec
    target: Target
    directory: Path
    digest: str

    @property
    def simulated(self) -> bool:
        """Whether no GPU computes behind this engine."""
        return self.target is Target.SIM


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running Triton that answers: addresses, never a process manager."""

    grpc_url: str
    http_url: str
    metrics_url: str
    model: str = "ensemble"
    simulated: bool
    pid: int | None = None
    log: Path | None = None


# --- What is recorded -----------------------------------------------------------------------


class RequestStatus(StrEnum):
    """How a request ended."""

    OK = "ok"
    ERROR = "error"
    DEADLINE = "deadline"
    UNFINISHED = "unfinished"  # still in flight when the load was stopped: no fault of anybody's


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTimings:
    """The engine's own stamps of one request, in nanoseconds of the server's monotonic clock."""

    arrival_ns: int
    first_scheduled_ns: int
    first_token_ns: int
    last_token_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as the client saw it.

    `arrivals_ns[i]` is when the i-th response message with tokens came in and `tokens[i]` how many
    tokens it held, by the server's own count. `due_ns` is when the request should have been sent
    (for a closed loop: when the client's slot became free), `sent_ns` when it was.
    """

    index: int
    client: int
    due_ns: int
    sent_ns: int
    finished_ns: int
    status: RequestStatus
    arrivals_ns: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    input_tokens: int | None = None
    expected_output_tokens: int
    error: str = ""
    server: ServerTimings | None = None

    @property
    def output_tokens(self) -> int:
        """Tokens received, by the server's own count."""
        return sum(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAudit:
    """What the load client knows of its own failings during a run."""

    cpu_s: float
    wall_s: float
    messages: int
    lag_p99_s: float
    lag_max_s: float
    late_sends: int
    involuntary_switches: int

    @property
    def cpu_share(self) -> float:
        """The share of one core that the client used."""
        return self.cpu_s / self.wall_s if self.wall_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Everything that may change a number; runs that differ in `identity` are not comparable.

    `context` is recorded for the reader and never compared.
    """

    hardware: str
    target: Target
    simulated: bool
    identity: dict[str, str] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """The GPU at one moment, by NVML; None is what it does not report.

    `utilization` is a share of the time, `slowdowns` name the faults that held the clocks down,
    `pids` are the processes that compute on it.
    """

    at_ns: int
    utilization: float | None = None
    sm_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    slowdowns: tuple[str, ...] | None = None
    pids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """The server at one moment, by Triton's metrics; None is what it does not export.

    `kv_cache` and `gpu_utilization` are shares, `active` and `waiting` numbers of requests.
    """

    at_ns: int
    kv_cache: float | None = None
    active: float | None = None
    waiting: float | None = None
    gpu_utilization: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """GPU and server while the load ran, sampled every `period_s`.

    `pids_before` computed on the GPU before the server was booted, `pids_at_start` when the load
    began; `faults` say what could not be sampled, and why.
    """

    period_s: float
    gpu: tuple[GpuSample, ...] = ()
    server: tuple[ServerSample, ...] = ()
    sm_clock_max_mhz: int | None = None
    pids_before: tuple[int, ...] = ()
    pids_at_start: tuple[int, ...] = ()
    process_names: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """All that one load left behind: enough to measure and judge it again without the server.

    `marks_ns` are the bounds of the rounds: round i lies between mark i and mark i + 1.
    `server_before` and `server_after` are Triton's metrics by full series name. `telemetry` is
    None where nothing was watched, as in runs stored before there was any.
    """

    point: OperatingPoint
    fingerprint: Fingerprint
    started_at: str
    marks_ns: tuple[int, ...]
    records: tuple[RequestRecord, ...]
    audit: ClientAudit
    server_before: dict[str, float] = field(default_factory=dict)
    server_after: dict[str, float] = field(default_factory=dict)
    telemetry: Telemetry | None = None
    faults: tuple[str, ...] = ()


# --- What is measured -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A sample in few numbers; a percentile that `n` cannot hold is None, never a guess."""

    n: int
    mean: float
    minimum: float
    p50: float
    p95: float | None
    p99: float | None
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """A reason why a measurement may not be judged: the rule and what broke it."""

    rule: str
    message: str


class Phase(StrEnum):
    """Where a request's time goes, in the order in which it passes."""

    CLIENT = "client"  # from when its client was free until it was sent
    WAY_IN = "way-in"  # to the engine: network, Triton, tokenising
    QUEUE = "queue"  # until the scheduler took it into a batch
    PREFILL = "prefill"  # until its first token was computed
    DECODE = "decode"  # until its last one was
    POSTPROCESSING = "postprocessing"  # detokenising, by Triton's own counters
    WAY_BACK = "way-back"  # from the engine to the client, without what is counted before
    NETWORK = "network"  # both ways together, where server and client share no clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where the mean request's time went: seconds by phase, which add up to `latency_s`.

    `requests` were timed by the server; `decode_steps` is their mean number of tokens after the
    first. Empty phases mean that nothing can be told; `note` says what cannot, and why.
    """

    requests: int
    latency_s: float
    decode_steps: float
    phases_s: dict[Phase, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUse:
    """What server and GPU did over the steady window; None is what nobody reported.

    Shares lie between 0 and 1; `samples` is how many moments the numbers rest on.
    """

    samples: int
    kv_cache_peak: float | None = None
    active_mean: float | None = None
    waiting_mean: float | None = None
    gpu_utilization_mean: float | None = None
    sm_clock_mean_mhz: float | None = None
    power_mean_w: float | None = None
    temperature_max_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one operating point over its steady window.

    Distributions are in seconds. `round_tok_s` are the rounds' output token throughputs.
    `latency_s`, `ttft_s` and `tpot_s` hold one value a request, `itl_s` one a token gap; the last
    two are None where every request has a single token, so that there is no gap.
    """

    point: OperatingPoint
    fingerprint: Fingerprint
    started_at: str
    window_s: float
    requests: int
    output_tokens: int
    throughput_tok_s: float
    request_rate_s: float
    round_tok_s: tuple[float, ...]
    mean_in_flight: float
    latency_s: Distribution
    ttft_s: Distribution
    tpot_s: Distribution | None
    itl_s: Distribution | None
    audit: ClientAudit
    resources: ResourceUse | None = None
    attribution: Attribution | None = None
    vetoes: tuple[Veto, ...] = ()
    notes: tuple[str, ...] = ()
    records: str = ""


# --- What it is held against ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSample:
    """One accepted run of one cell, as a baseline stores it."""

    session: str
    measured_at: str
    commit: str
    requests: int
    throughput_tok_s: float
    latency_p50_s: float
    latency_p95_s: float
    ttft_p50_s: float
    tpot_p50_s: float | None

    def __post_init__(self) -> None:
        """Refuse a run that did nothing: relative changes from zero have no meaning."""
        _require_all_positive(
            self, "requests", "throughput_tok_s", "latency_p50_s", "latency_p95_s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one operating point is expected to reach, and where that is known from."""

    floor_tok_s: float | None = None
    ceiling_p95_s: float | None = None
    source: str
    identity: dict[str, str] = field(default_factory=dict)
    samples: tuple[RunSample, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a floor or ceiling that nothing can miss."""
        _require_all_positive(self, "floor_tok_s", "ceiling_p95_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """A floor that was raised to what several sessions have confirmed; never typed by hand."""

    cell: str
    floor_tok_s: float
    sessions: tuple[str, ...]
    accepted_at: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """A limit that was lowered on purpose: from what to what, why, and until which day."""

    cell: str
    floor_tok_s: float
    before_tok_s: float
    reason: str
    expires: str
    lowered_at: str
    commit: str
    signed_by: str = ""

    def __post_init__(self) -> None:
        """Refuse a lowering without a reason, or one that raises."""
        if not self.reason.strip():
            raise UsageError("reason", self.reason, "say why the limit may be lower")
        if not 0 < self.floor_tok_s < self.before_tok_s:
            rule = f"it must lie between 0 and the present floor ({self.before_tok_s:g})"
            raise UsageError("floor_tok_s", self.floor_tok_s, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The expected numbers of one model at one precision on one kind of hardware.

    `ratchets` and `ledger` only ever grow. `digest` is the SHA-256 of everything else in the file,
    `previous` the digest of the file it replaced.
    """

    schema_version: int
    hardware: str
    model: str
    precision: Precision
    cells: dict[str, Cell]
    ratchets: tuple[Ratchet, ...] = ()
    ledger: tuple[Lowering, ...] = ()
    previous: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPolicy:
    """How a candidate is held against a base of the same job; cells are `point:metric`.

    Up to four `primary` cells decide; `secondary` ones are told. A loss up to `tolerance` is never
    blocked, one of `margin` must be caught. `budget_minutes` is what a job may cost.
    """

    primary: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    tolerance: float = 0.01
    margin: float = 0.05
    budget_minutes: float = 100.0

    def __post_init__(self) -> None:
        """Refuse more cells than can share the error, and limits between which nothing lies."""
        if len(self.primary) > MOST_PRIMARY:
            rule = f"at most {MOST_PRIMARY} cells can share the error; make others secondary"
            raise UsageError("primary", len(self.primary), rule)
        for cell in (*self.primary, *self.secondary):
            if not all(cell.partition(":")[::2]):
                raise UsageError("cell", cell, "it must read point:metric")
        if not 0 <= self.tolerance < self.margin < 1:
            rule = f"it must lie between 0 and the margin ({self.margin:g}), the margin below 1"
            raise UsageError("tolerance", self.tolerance, rule)
        _require_all_positive(self, "budget_minutes")


MOST_PRIMARY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of judgement, kept in a file under review.

    Margins are fractions of the baseline. The first group decides verdicts, the second vetoes.
    """

    throughput_margin: float = 0.05
    latency_margin: float = 0.05
    max_p95_over_p50: float = 1.10
    fp8_speedup: float = 1.6
    fmha_tpot_margin: float = 0.02

    littles_law_margin: float = 0.03
    max_client_cpu_share: float = 0.70
    max_client_lag_s: float = 0.010
    max_server_lateness: float = 0.02
    max_slowdown_share: float = 0.01
    min_sm_clock: float = 0.60
    max_sm_clock: float = 1.0
    max_clock_out_share: float = 0.05
    max_drift: float = 0.05

    paired: PairedPolicy = field(default_factory=PairedPolicy)

    def __post_init__(self) -> None:
        """Refuse a margin that is no fraction, and a factor below one."""
        for name in (
            "throughput_margin",
            "latency_margin",
            "fmha_tpot_margin",
            "littles_law_margin",
            "max_client_cpu_share",
            "max_server_lateness",
            "max_slowdown_share",
            "min_sm_clock",
            "max_clock_out_share",
            "max_drift",
        ):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(name, getattr(self, name), "it must lie between 0 and 1")
        for name in ("max_p95_over_p50", "fp8_speedup"):
            if getattr(self, name) < 1:
                raise UsageError(name, getattr(self, name), "it must be at least 1")
        if self.max_client_lag_s <= 0:
            raise UsageError("max_client_lag_s", self.max_client_lag_s, "it must be positive")
        if not self.min_sm_clock < self.max_sm_clock <= 1:
            rule = f"it must lie above min_sm_clock ({self.min_sm_clock}) and be at most 1"
            raise UsageError("max_sm_clock", self.max_sm_clock, rule)


# --- What is said of it ---------------------------------------------------------------------


class Verdict(StrEnum):
    """The six answers of the gate; only REGRESSION says that the change is slower."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    IMPROVEMENT = "IMPROVEMENT"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    UNSTABLE = "UNSTABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one number: what was expected, what was got, and what follows."""

    check: str
    metric: str = ""
    unit: str = ""
    expected: float | None = None
    got: float | None = None
    margin: float | None = None
    verdict: Verdict
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one operating point, or one comparison of two, and all it rests on."""

    point: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    records: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """Where a set of measurements comes from; wall-clock times are provenance only."""

    target: Target
    hardware: str
    hardware_title: str
    simulated: bool
    started_at: str
    duration_s: float
    perfgate_version: str
    commit: str
    command: str


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def _require_name(field_name: str, value: str) -> None:
    # Names become file names: no separator, no leading dot.
    if not _NAME.fullmatch(value):
        raise UsageError(
            field_name, value, "use a-z, 0-9, '.', '_', '-', starting with a letter or digit"
        )


def _require_all_positive(value: object, *names: str) -> None:
    for name in names:
        number = getattr(value, name)
        if number is not None and not number > 0:
            raise UsageError(name, number, "it must be above 0")


def _require_positive(field_name: str, value: int) -> None:
    if value <= 0:
        raise UsageError(field_name, value, "it must be at least 1")
