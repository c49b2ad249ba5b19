"""The run's own, client-side measurements as OpenMetrics gauges.

Gauges only and without time stamps: the text is then valid in the older Prometheus format too,
which is what node_exporter's textfile collector reads.
"""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest

from perfgate.model import Distribution, Measurement, RunInfo, Verdict
from perfgate.report.content import Report, rows

_POINT = ("point", "hardware", "concurrency")


def openmetrics(report: Report) -> str:
    """Every point's throughput, latencies, floor, ceiling and verdict; the unknown is left out."""
    registry = CollectorRegistry()
    _run(report.info, registry)
    gauges = _Gauges(registry)
    for row in rows(report):
        if row.measurement is not None:
            labels = _labels(row.measurement, report.info)
            gauges.measured(row.measurement, labels)
            _set(gauges.floor, labels, row.floor_tok_s)
            _set(gauges.ceiling, labels, row.ceiling_p95_s)
        if row.judgement is not None:
            for verdict in Verdict:
                said = float(row.judgement.verdict is verdict)
                gauges.verdict.labels(row.point, report.info.hardware, verdict.value).set(said)
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # untyped upstream
    return text.decode()


class _Gauges:
    """The families, one sample a point, or a point and statistic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, title: str, *more: str) -> Gauge:
            return Gauge(f"perfgate_{name}", title, (*_POINT, *more), registry=registry)

        self.throughput = gauge("output_tokens_per_second", "Throughput of the steady window.")
        self.floor = gauge("floor_tokens_per_second", "Throughput the point must reach.")
        self.latency = gauge("request_latency_seconds", "Request latency.", "statistic")
        self.ceiling = gauge("ceiling_p95_seconds", "P95 latency the point must stay under.")
        self.ttft = gauge("time_to_first_token_seconds", "Time to first token.", "statistic")
        self.tpot = gauge("time_per_output_token_seconds", "Time per output token.", "statistic")
        self.itl = gauge("inter_token_latency_seconds", "Gap between tokens.", "statistic")
        self.chunk_gap = gauge("chunk_gap_seconds", "Gap between bundles of tokens.", "statistic")
        self.good_requests = gauge("goodput_requests_per_second", "Requests in their objective.")
        self.good_tokens = gauge("goodput_tokens_per_second", "Tokens of such requests.")
        self.vetoes = gauge("vetoes", "Reasons why the measurement may not be judged.")
        self.verdict = Gauge(
            "perfgate_verdict",
            "1 for the gate's verdict on the point, 0 for the five others.",
            ("point", "hardware", "verdict"),
            registry=registry,
        )

    def measured(self, measurement: Measurement, labels: tuple[str, ...]) -> None:
        """Set what the measurement alone tells."""
        self.throughput.labels(*labels).set(measurement.throughput_tok_s)
        self.vetoes.labels(*labels).set(len(measurement.vetoes))
        if measurement.goodput is not None:
            self.good_requests.labels(*labels).set(measurement.goodput.requests_s)
            self.good_tokens.labels(*labels).set(measurement.goodput.tok_s)
        for gauge, distribution in (
            (self.latency, measurement.latency_s),
            (self.ttft, measurement.ttft_s),
            (self.tpot, measurement.tpot_s),
            (self.itl, measurement.itl_s),
            (self.chunk_gap, measurement.chunk_gap_s),
        ):
            for statistic, value in _statistics(distribution):
                _set(gauge, (*labels, statistic), value)


def _run(info: RunInfo, registry: CollectorRegistry) -> None:
    names = ("hardware", "target", "simulated", "commit", "perfgate")
    about = Gauge(
        "perfgate_run_info", "Where the run comes from; always 1.", names, registry=registry
    )
    simulated = str(info.simulated).lower()
    about.labels(info.hardware, info.target, simulated, info.commit, info.perfgate_version).set(1)
    started = Gauge(
        "perfgate_run_started_seconds", "When the run began, Unix time.", registry=registry
    )
    started.set(datetime.fromisoformat(info.started_at).timestamp())


def _labels(measurement: Measurement, info: RunInfo) -> tuple[str, ...]:
    return (
        measurement.point.id,
        info.hardware,
        str(measurement.point.workload.concurrency),
    )


def _statistics(distribution: Distribution | None) -> tuple[tuple[str, float | None], ...]:
    if distribution is None:
        return ()
    return (
        ("mean", distribution.mean),
        ("p50", distribution.p50),
        ("p95", distribution.p95),
        ("p99", distribution.p99),
    )


def _set(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        gauge.labels(*labels).set(value)
