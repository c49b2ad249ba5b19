"""The run's own measurements as OpenMetrics, read back by Prometheus' own client library."""

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from perfgate.exports.openmetrics import openmetrics
from perfgate.model import Verdict
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def values(report, read=read_openmetrics):
    """Every sample: (name, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in read(openmetrics(report))
        for sample in family.samples
    }


def of(found, name, **labels):
    """The values of one family whose labels hold these."""
    return [
        value
        for (family, held), value in found.items()
        if family == f"perfgate_{name}" and labels.items() <= dict(held).items()
    ]


@pytest.mark.parametrize("sample", samples.ALL.values(), ids=samples.ALL)
def test_both_formats_read_it_alike(sample):
    """The text is OpenMetrics and, for a textfile collector, the older Prometheus format too."""
    assert values(sample()) == values(sample(), read_prometheus)


def test_numbers_are_the_measurements_own():
    """Throughput, percentiles, floor and ceiling lose no digit."""
    report = samples.passing()
    found = values(report)
    one = report.measurements[0]
    point = one.point.id
    cell = report.cells.get(point) or one.point.claim

    assert of(found, "output_tokens_per_second", point=point) == [one.throughput_tok_s]
    assert of(found, "request_latency_seconds", point=point, statistic="p95") == [one.latency_s.p95]
    assert of(found, "time_per_output_token_seconds", point=point, statistic="p50") == [
        one.tpot_s.p50
    ]
    assert of(found, "floor_tokens_per_second", point=point) == [cell.floor_tok_s]
    assert of(found, "ceiling_p95_seconds", point=point) == [cell.ceiling_p95_s]
    assert of(found, "run_info", simulated="true", hardware=report.info.hardware) == [1]


def test_one_of_six_verdicts_holds():
    """Each judged point has exactly one verdict at 1, also one that nobody could measure."""
    report = samples.invalid()
    found = values(report)

    for judgement in report.judgements:
        said = {
            verdict: of(found, "verdict", point=judgement.point, verdict=verdict.value)
            for verdict in Verdict
        }
        assert said == {v: [float(v is judgement.verdict)] for v in Verdict}


def test_the_unknown_is_left_out():
    """A percentile that the sample cannot hold is no sample, never a zero."""
    found = values(samples.single())

    assert of(found, "request_latency_seconds", statistic="p50")
    assert not of(found, "request_latency_seconds", statistic="p95")
    assert 0.0 not in of(found, "request_latency_seconds")
