"""Each metric's formula, on requests simple enough to check by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from perfgate.measure import metrics
from perfgate.measure.window import Window
from perfgate.model import Measurement, RequestStatus
from tests.unit.factories import a_record

pytestmark = pytest.mark.unit

# Due at 0, tokens at 0.1, 0.11, 0.12 and 0.13 s, final response 10 ms after the last token.
REQUEST = replace(
    a_record(0, sent_ns=0, ttft_ns=100_000_000, gap_ns=10_000_000, tokens=4),
    finished_ns=140_000_000,
)
WINDOW = Window((0, 200_000_000), (REQUEST,))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics.TTFT, [0.1]),
        (metrics.LATENCY, [0.13]),
        (metrics.TPOT, [0.01]),
        (metrics.ITL, [0.01, 0.01, 0.01]),
        (metrics.THROUGHPUT, 20.0),
        (metrics.REQUEST_RATE, 5.0),
        (metrics.MEAN_IN_FLIGHT, 0.7),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_formulas(metric, expected):
    """Each metric of the one request is what its formula says."""
    assert metric.of(WINDOW) == pytest.approx(expected)


def test_a_message_of_several_tokens_is_one_arrival():
    """Two messages of two tokens have one gap, and TPOT still counts every token."""
    bundled = replace(REQUEST, arrivals_ns=(100_000_000, 130_000_000), tokens=(2, 2))
    window = Window((0, 200_000_000), (bundled,))

    assert metrics.ITL.of(window) == pytest.approx([0.03])
    assert metrics.TPOT.of(window) == pytest.approx([0.01])


def test_latency_counts_from_when_the_client_was_free():
    """A request sent late is charged with its wait: no coordinated omission."""
    late = replace(REQUEST, sent_ns=50_000_000)

    assert metrics.TTFT.of(Window((0, 200_000_000), (late,))) == pytest.approx([0.1])


def test_a_single_token_has_neither_gap_nor_tpot():
    """One token yields no ITL and no TPOT, and no division by zero."""
    single = replace(REQUEST, arrivals_ns=(100_000_000,), tokens=(1,))
    window = Window((0, 200_000_000), (single,))

    assert metrics.ITL.of(window).size == metrics.TPOT.of(window).size == 0


def test_a_failed_request_is_not_measured():
    """A request that ended in an error has no latency."""
    failed = replace(REQUEST, status=RequestStatus.ERROR)

    assert metrics.LATENCY.of(Window((0, 200_000_000), (failed,))).size == 0


def test_every_metric_is_a_field_of_the_measurement():
    """The table's names are the names users find in measurements.json."""
    known = {field.name for field in fields(Measurement)}

    assert {metric.name for metric in metrics.METRICS} <= known


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_documented(metric):
    """docs/metrics.md states each metric with its formula as the code does."""
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{metric.name}`"))

    assert metric.formula in row
    assert f"| {metric.unit} |" in row
    assert f"| {metric.direction} |" in row
