"""What is measured: distributions, attribution, vetoes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from perfgate.model.record import ClientAudit, Fingerprint
from perfgate.model.spec import OperatingPoint


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
class Goodput:
    """What was served within the point's objective: rates, and the share of the requests."""

    requests_s: float
    tok_s: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMeasurement:
    """The requests of one part of a workload's mix, by themselves; fields as in Measurement."""

    name: str
    requests: int
    latency_s: Distribution
    ttft_s: Distribution
    tpot_s: Distribution | None
    itl_s: Distribution | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one operating point over its steady window.

    Distributions are in seconds. `round_tok_s` are the rounds' output token throughputs.
    `latency_s`, `ttft_s` and `tpot_s` hold one value a request, `itl_s` one a token gap; the last
    two are None where every request has a single token, so that there is no gap. Where messages
    bundle tokens, or nobody counted them one by one, the gaps between messages are `chunk_gap_s`,
    and there is no ITL. `goodput` is None where the point has no objective, `audit` where another
    tool than ours drove the load. `parts` take them apart where the
    workload is a mix of several.
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
    audit: ClientAudit | None
    chunk_gap_s: Distribution | None = None
    goodput: Goodput | None = None
    resources: ResourceUse | None = None
    attribution: Attribution | None = None
    vetoes: tuple[Veto, ...] = ()
    notes: tuple[str, ...] = ()
    records: str = ""
    parts: tuple[PartMeasurement, ...] = ()
