"""What a report holds and refuses to hold."""

import dataclasses

import pytest

from perfgate.errors import NoSamplesError, UsageError
from perfgate.model import Cell
from perfgate.report import content
from perfgate.report.content import Curve, CurvePoint
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def a_curve(*points, knee=128, ceiling=7.0):
    """A curve of (concurrency, P95) pairs."""
    return Curve(
        engine="fp8-b192",
        points=tuple(CurvePoint(c, 20.0 * c, p95) for c, p95 in points),
        knee=knee,
        ceiling_p95_s=ceiling,
    )


def test_a_judged_point_that_was_never_measured_is_a_row():
    """A lost point stays visible, after the measured ones."""
    *_, last = content.rows(samples.invalid())

    assert (last.point, last.measurement, last.verdict) == ("fp8-b192-c256", None, "INVALID")


def test_a_baseline_cell_outweighs_the_claim():
    """The table shows what the verdict was held against."""
    report = dataclasses.replace(
        samples.passing(),
        cells={"fp8-b192-c160": Cell(floor_tok_s=3010.0, ceiling_p95_s=None, source="run")},
    )
    row = next(row for row in content.rows(report) if row.point == "fp8-b192-c160")

    assert (row.floor_tok_s, row.ceiling_p95_s) == (3010.0, None)
    assert row.over_ceiling is None


def test_a_point_measured_for_a_comparison_says_so():
    """An ungated point is not mistaken for one that was forgotten."""
    report = samples.single()
    (measurement,) = report.measurements
    helper = dataclasses.replace(
        measurement, point=dataclasses.replace(measurement.point, gated=False)
    )

    def word(measured):
        run = dataclasses.replace(report, measurements=(measured,), judgements=())
        return content.rows(run)[0].verdict

    assert word(measurement) == "not judged"
    assert word(helper) == "compared"


def test_the_operating_range_ends_before_the_ceiling():
    """It runs from the knee to the last concurrency under the ceiling."""
    curve = a_curve((96, 5.5), (128, 6.2), (160, 6.9), (192, 7.5), (256, 6.0))

    assert curve.operating_range == (128, 160)


@pytest.mark.parametrize(
    "curve",
    [
        a_curve((128, 6.2), knee=None),
        a_curve((128, 6.2), ceiling=None),
        a_curve((128, 7.2)),
        a_curve((128, None)),
    ],
    ids=["no-knee", "no-ceiling", "knee-over-ceiling", "unknown-p95"],
)
def test_there_is_no_operating_range_without_proof(curve):
    """A range is claimed only where knee, ceiling and P95 are known and agree."""
    assert curve.operating_range is None


def test_a_curve_of_nothing_is_refused():
    """An empty chart would be no data shown as data."""
    with pytest.raises(NoSamplesError):
        a_curve()


def test_a_curve_that_runs_back_is_refused():
    """Points must come in rising order of concurrency, each once."""
    with pytest.raises(UsageError, match="must rise"):
        a_curve((128, 6.0), (96, 5.0))
