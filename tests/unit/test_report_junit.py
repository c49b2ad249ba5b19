"""The properties in junit.xml."""

import pytest

from perfgate.report.junit import junit_properties
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def test_numbers_are_at_full_precision():
    """What a tool reads back is exactly what was measured."""
    report = samples.passing()
    said = dict(junit_properties(report.judgements[0], report.measurements[0]))

    assert said["perfgate.verdict"] == "PASS"
    assert said["perfgate.simulated"] == "true"
    assert float(said["perfgate.throughput_tok_s"]) == report.measurements[0].throughput_tok_s
    assert float(said["perfgate.latency_p95_s"]) == report.measurements[0].latency_s.p95


def test_what_is_not_known_is_left_out():
    """No property stands for a percentile that the sample cannot hold."""
    report = samples.single()
    said = dict(junit_properties(report.judgements[0], report.measurements[0]))

    assert "perfgate.latency_p95_s" not in said
    assert "perfgate.latency_p50_s" in said


def test_a_judgement_alone_is_enough():
    """A point that was never measured still has its verdict."""
    *_, lost = samples.invalid().judgements

    assert junit_properties(lost) == [
        ("perfgate.point", "fp8-b192-c256"),
        ("perfgate.verdict", "INVALID"),
    ]


def test_every_value_is_text():
    """The file holds the values as they are."""
    report = samples.passing()
    pairs = junit_properties(report.judgements[0], report.measurements[0])

    assert all(isinstance(part, str) for pair in pairs for part in pair)
