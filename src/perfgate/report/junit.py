"""The properties a perf test carries in junit.xml; pytest writes the file."""

from __future__ import annotations

from perfgate.model import Judgement, Measurement


def junit_properties(
    judgement: Judgement, measurement: Measurement | None = None
) -> list[tuple[str, str]]:
    """Name and value pairs for `record_property`, each name under `perfgate.`.

    Numbers are at full precision in the unit that ends the name; what is not known is left out.
    """
    said = [("point", judgement.point), ("verdict", judgement.verdict.value)]
    if judgement.records:
        said.append(("records", judgement.records))
    if measurement is not None:
        said += _measured(measurement)
    return [(f"perfgate.{name}", value) for name, value in said]


def _measured(measurement: Measurement) -> list[tuple[str, str]]:
    point = measurement.point
    numbers = {
        "throughput_tok_s": measurement.throughput_tok_s,
        "request_rate_s": measurement.request_rate_s,
        "latency_p50_s": measurement.latency_s.p50,
        "latency_p95_s": measurement.latency_s.p95,
        "latency_p99_s": measurement.latency_s.p99,
        "ttft_p50_s": measurement.ttft_s.p50,
        "tpot_p50_s": measurement.tpot_s.p50 if measurement.tpot_s else None,
        "goodput_requests_s": measurement.goodput.requests_s if measurement.goodput else None,
        "goodput_tok_s": measurement.goodput.tok_s if measurement.goodput else None,
        "window_s": measurement.window_s,
    }
    return [
        ("simulated", str(measurement.fingerprint.simulated).lower()),
        ("hardware", measurement.fingerprint.hardware),
        ("engine", point.engine.name),
        ("concurrency", str(point.workload.concurrency)),
        ("requests", str(measurement.requests)),
        *((name, repr(value)) for name, value in numbers.items() if value is not None),
    ]
