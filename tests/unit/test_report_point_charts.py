"""The drawings with one strip a point."""

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.report.content import rows
from perfgate.report.plots import NARROW, WIDE
from perfgate.report.point_charts import (
    latency_chart,
    phases_chart,
    rounds_chart,
    spread,
    thinned,
)
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    """The drawing as an element tree."""
    return ET.fromstring(text)  # noqa: S314 - our own output


def lines(tree, class_):
    """The lines of one class."""
    return [node for node in tree.iter(f"{SVG}line") if node.get("class") == class_]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=50), st.integers(2, 20))
def test_thinning_keeps_the_extremes_and_invents_nothing(values, most):
    """What is left are values of the sample, sorted, minimum and maximum among them."""
    left = thinned(values, most)

    assert len(left) <= max(most, 1)
    assert set(left) <= set(values)
    assert left == sorted(left)
    assert (left[0], left[-1]) == (min(values), max(values))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_point_has_a_strip_with_its_marks(width):
    """Median, P95 and ceiling are drawn for each point that has them, and one in the legend."""
    report = samples.passing()
    tree = parsed(latency_chart(rows(report), report.latencies_s, width=width))
    said = [node.text for node in tree.iter(f"{SVG}text")]

    assert all(measurement.point.id in said for measurement in report.measurements)
    assert len(lines(tree, "p50")) == 1 + len(report.measurements)
    assert len(lines(tree, "p95")) == 1 + len(report.measurements)
    assert len(lines(tree, "limit")) == 1 + len(report.measurements)


def test_a_point_without_p95_gets_no_mark_for_it():
    """Too few requests: the strip says so and draws no line."""
    report = samples.single()
    chart = latency_chart(rows(report), report.latencies_s)

    assert len(lines(parsed(chart), "p95")) == 1
    assert "P95 too few" in chart


def test_a_huge_sample_stays_small():
    """A hundred thousand requests do not make a page that will not open."""
    report = samples.single()
    many = {"fp8-b192-c4": tuple(3.4 + i * 1e-6 for i in range(100_000))}

    assert len(latency_chart(rows(report), many)) < 40_000


def test_a_straggler_stays_in_sight():
    """A request off the axis is marked at its edge, with its latency, and presses nobody flat."""
    report = samples.single()
    (measurement,) = report.measurements
    slow = dataclasses.replace(measurement.latency_s, maximum=35.0)
    late = dataclasses.replace(
        report, measurements=(dataclasses.replace(measurement, latency_s=slow),)
    )
    chart = latency_chart(rows(late), {"fp8-b192-c4": (3.5, 3.5, 35.0)})

    assert "<title>35.0 s, off the axis</title>" in chart
    assert ">1.4</text>" in chart
    assert ">2.0</text>" not in chart


def test_a_request_of_one_token_has_no_decode():
    """A prefill-only point shows no made-up zero."""
    (measurement,) = samples.single().measurements
    once = dataclasses.replace(measurement, tpot_s=None, itl_s=None, latency_s=measurement.ttft_s)

    assert "no decode" in phases_chart([once])


def test_without_the_single_requests_the_percentiles_are_still_drawn():
    """Stored measurements are enough for the strip's marks."""
    report = samples.passing()

    assert len(lines(parsed(latency_chart(rows(report), {})), "p50")) == 1 + len(report.judgements)


def test_the_two_phases_add_up_to_the_latency():
    """TTFT and decode end where the mean latency is."""
    (measurement,) = samples.single().measurements
    tree = parsed(phases_chart([measurement]))
    first, then = (
        next(n for n in reversed(list(tree.iter(f"{SVG}rect"))) if n.get("class") == class_)
        for class_ in ("prefill", "decode")
    )
    widths = [float(node.get("width")) for node in (first, then)]

    share = measurement.ttft_s.mean / measurement.latency_s.mean
    assert widths[0] / sum(widths) == pytest.approx(share, abs=1e-3)


def test_the_rounds_spread_is_theirs():
    """(highest - lowest) / mean."""
    (measurement,) = samples.single().measurements
    three = dataclasses.replace(measurement, round_tok_s=(98.0, 100.0, 102.0))

    assert spread(three) == pytest.approx(0.04)
    assert "spread 4.0 %" in rounds_chart([three])


def test_one_round_has_no_spread():
    """A single round is no drawing and no zero."""
    (measurement,) = samples.single().measurements
    once = dataclasses.replace(measurement, round_tok_s=(100.0,))

    assert spread(once) is None
    assert rounds_chart([once]) == ""


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_long_name_is_cut_not_written_over_the_drawing(width):
    """Names wider than their place end in an ellipsis."""
    (measurement,) = samples.single().measurements
    long = dataclasses.replace(
        measurement, point=dataclasses.replace(measurement.point, id="x" * 200)
    )
    said = [node.text for node in parsed(phases_chart([long], width=width)).iter(f"{SVG}text")]

    assert any(text.endswith("…") for text in said)
    assert all(len(text) < 60 for text in said)


def test_nothing_measured_draws_nothing():
    """There is no empty frame."""
    assert latency_chart([], {}) == phases_chart([]) == rounds_chart([]) == ""
