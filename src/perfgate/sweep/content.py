"""What a sweep holds: every measurement as it was taken, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from perfgate.measure.bands import Band
from perfgate.measure.limits import Limit
from perfgate.model import Measurement, OperatingPoint, RunInfo

# History: 1 - run, engines.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One measurement of a sweep: on which boot of the server, why there, and what it cost.

    `seconds` are virtual ones for a sweep in virtual time. `p95_band` is None where the requests
    are too few for it, or a driver keeps none.
    """

    measurement: Measurement
    boot: int
    why: str
    seconds: float
    p95_band: Band | None = None

    @property
    def concurrency(self) -> int:
        """Requests in flight."""
        return self.measurement.point.workload.concurrency

    @property
    def requests_per_s(self) -> float | None:
        """The rate that was offered; None in a closed loop."""
        return offered_rate(self.measurement.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A load that could not be measured, and the reason; the rate is None in a closed loop."""

    concurrency: int
    boot: int
    seconds: float
    reason: str
    requests_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow:
    """What was measured of one load; None is what nobody reported or too few requests hold.

    Bands hold the scatter inside the run: over rounds and requests on one boot, over boots where
    there are several.
    """

    throughput_tok_s: float
    throughput_band: Band | None
    latency_p50_s: float
    latency_p95_s: float | None
    latency_p95_band: Band | None
    ttft_p50_s: float
    waiting_mean: float | None
    kv_cache_peak: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(LoadRow):
    """One concurrency over all its boots."""

    concurrency: int
    boots: int
    tpot_p50_s: float | None
    active_mean: float | None
    roofline_tok_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingRange:
    """The concurrencies worth running at, from the knee to the last one under the ceiling.

    `limit` is what ends it, `evidence` says it in words with numbers.
    """

    low: int
    high: int
    low_tok_s: float
    high_tok_s: float
    ceiling_p95_s: float
    limit: Limit
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What follows from a sweep's measurements; it can be computed from them again."""

    rows: tuple[Row, ...]
    knee: int | None
    knee_reason: str
    operating_range: OperatingRange | None
    sentence: str
    bands: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow(LoadRow):
    """One offered rate: what was answered, and how long it took.

    `behind` says that the server did not keep up: its latencies then belong to the length of the
    run and not to the rate. It `held` where it did, with P95 under any ceiling.
    """

    requests_per_s: float
    answered_per_s: float
    ttft_p95_s: float | None
    in_flight_mean: float
    behind: bool
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RateResult:
    """What follows from offered rates: the highest that held, with all below it holding too."""

    rows: tuple[RateRow, ...]
    highest: float | None
    sentence: str
    bands: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSweep:
    """The sweep of one engine: its load (`point`, whose concurrency says nothing), and what came.

    In an open loop it is the rate of `point` that says nothing, and `offered` is the result.
    `ended` says why nothing more was measured; empty while it goes on or if it was interrupted.
    """

    point: OperatingPoint
    taken: tuple[Taken, ...] = ()
    failed: tuple[Failed, ...] = ()
    ended: str = ""
    result: Result | None = None
    offered: RateResult | None = None

    @property
    def sound(self) -> tuple[Taken, ...]:
        """The measurements that no rule objects to."""
        return tuple(one for one in self.taken if not one.measurement.vetoes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFile:
    """sweep.json: one sweep an engine."""

    schema_version: int = SCHEMA_VERSION
    run: RunInfo
    engines: tuple[EngineSweep, ...]


def offered_rate(point: OperatingPoint) -> float | None:
    """The rate at which a point's requests arrive; None in a closed loop."""
    arrivals = point.workload.arrivals
    return arrivals.requests_per_s if arrivals else None
