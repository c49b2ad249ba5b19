"""Bencher Metric Format, held to the schema that Bencher publishes."""

import json

import jsonschema
import pytest

from perfgate.exports.bencher import bencher
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit

# The published form (bencher.dev/bmf.json), closed here: a misspelt bound must not pass unseen.
METRIC = {
    "type": "object",
    "properties": {
        "value": {"type": "number"},
        "lower_value": {"type": "number"},
        "upper_value": {"type": "number"},
    },
    "required": ["value"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 64},
        "additionalProperties": METRIC,
    },
    "propertyNames": {"maxLength": 1024},
}


@pytest.mark.parametrize("sample", samples.ALL.values(), ids=samples.ALL)
def test_it_follows_the_published_schema(sample):
    """Benchmarks of measures of values; every measure's name is a slug that Bencher can keep."""
    jsonschema.validate(json.loads(bencher(sample())), SCHEMA)


def test_numbers_are_the_measurements_own():
    """One benchmark a measured point, no digit lost, bounds around the value."""
    report = samples.passing()
    found = json.loads(bencher(report))
    one = report.measurements[0]
    measures = found[f"{report.info.hardware}/{one.point.id}"]

    assert len(found) == len(report.measurements)
    assert measures["output-token-throughput-tok-s"]["value"] == one.throughput_tok_s
    assert measures["output-token-throughput-tok-s"]["lower_value"] == min(one.round_tok_s)
    assert measures["request-latency-p95-s"] == {"value": one.latency_s.p95}
    p50 = measures["request-latency-p50-s"]
    assert p50["lower_value"] <= p50["value"] <= p50["upper_value"]


def test_the_unknown_is_no_measure():
    """A percentile that the sample cannot hold is left out."""
    (measures,) = json.loads(bencher(samples.single())).values()

    assert "request-latency-p95-s" not in measures
    assert "request-latency-p50-s" in measures
