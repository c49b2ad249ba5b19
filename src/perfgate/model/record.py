"""What is recorded while load is sent; times are integer nanoseconds of the monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from perfgate.model.spec import OperatingPoint, Target


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
    tokens it held, by the server's own count; not `counted`, the server told only their sum, which
    is spread evenly. `due_ns` is when the request should have been sent (for a closed loop: when
    the client's slot became free, and had thought), `sent_ns` when it was.
    the part of its mix that the request belongs to.
    """

    index: int
    client: int
    due_ns: int
    sent_ns: int
    finished_ns: int
    status: RequestStatus
    arrivals_ns: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    counted: bool = True
    input_tokens: int | None = None
    expected_output_tokens: int
    error: str = ""
    server: ServerTimings | None = None
    expected_input_tokens: int | None = None
    part: str = ""

    @property
    def output_tokens(self) -> int:
        """Tokens received, by the server's own count."""
        return sum(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAudit:
    """What the load client knows of its own failings during a run.

    `lag_*_s` are how late its loop came round, `waited_s` how long it was ready to run and had no
    core, `stolen_s` what the hypervisor took from each of the machine's cores, on average (None:
    not known, as in runs stored before it was asked for). `workers` are the audits of several
    workers, of which this is then the sum or, for what a sum would hide, the worst.
    `clock_uncertainty_s` is how far the times of a worker on another machine, `host`, may be off.
    """

    cpu_s: float
    wall_s: float
    messages: int
    lag_p99_s: float
    lag_max_s: float
    late_sends: int
    involuntary_switches: int
    voluntary_switches: int | None = None
    waited_s: float | None = None
    stolen_s: float | None = None
    clock_uncertainty_s: float = 0.0
    host: str = ""
    workers: tuple[ClientAudit, ...] = ()

    @property
    def cpu_share(self) -> float:
        """The share of one core that the client, or its busiest worker, used."""
        if self.workers:
            return max(worker.cpu_share for worker in self.workers)
        return self.cpu_s / self.wall_s if self.wall_s else 0.0

    @property
    def wait_share(self) -> float:
        """The share of the time for which the client, or its worst worker, waited for a core."""
        if self.workers:
            return max(worker.wait_share for worker in self.workers)
        return (self.waited_s or 0.0) / self.wall_s if self.wall_s else 0.0

    @property
    def stolen_share(self) -> float:
        """The share of the machine's core time that the hypervisor took, of the worst machine."""
        if self.workers:
            return max(worker.stolen_share for worker in self.workers)
        return (self.stolen_s or 0.0) / self.wall_s if self.wall_s else 0.0


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


def differing(got: Mapping[str, str], expected: Mapping[str, str]) -> tuple[str, ...]:
    """Each field in which two identities differ, in words: what it is, and what it should be."""
    return tuple(
        f"{name} is {got.get(name, '(absent)')} instead of {expected.get(name, '(absent)')}"
        for name in sorted(got.keys() | expected.keys())
        if got.get(name) != expected.get(name)
    )


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
    `audit` is None where another tool than ours drove the load. `server_before` and `server_after`
    are Triton's metrics by full series name. `telemetry` is None where nothing was watched, as in
    runs stored before there was any. Where `time_dilation` is more than 1 a simulated engine ran so
    many times slower than real time; all times are then the engine's.
    """

    point: OperatingPoint
    fingerprint: Fingerprint
    started_at: str
    marks_ns: tuple[int, ...]
    records: tuple[RequestRecord, ...]
    audit: ClientAudit | None
    server_before: dict[str, float] = field(default_factory=dict)
    server_after: dict[str, float] = field(default_factory=dict)
    telemetry: Telemetry | None = None
    faults: tuple[str, ...] = ()
    time_dilation: int = 1
