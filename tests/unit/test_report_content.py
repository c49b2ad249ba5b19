"""The sentences drawn from a run."""

import dataclasses

import pytest

from perfgate.errors import NoSamplesError, UsageError
from perfgate.model import Cell, Judgement, Verdict
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


def a_judgement(verdict, point="fp8-b192-c160"):
    """A verdict without findings."""
    return Judgement(point=point, verdict=verdict, findings=())


def test_a_run_without_trouble_is_one_plain_sentence():
    """All points and comparisons are counted."""
    assert content.headline(samples.passing()) == "All 8 points and 3 comparisons pass."


def test_the_headline_counts_each_verdict_the_most_urgent_first():
    """Regressions come before points that could not be judged, passes last."""
    judgements = tuple(
        a_judgement(verdict, f"p{i}")
        for i, verdict in enumerate((Verdict.PASS, Verdict.INVALID, Verdict.REGRESSION))
    )
    report = content.Report(info=samples.INFO, judgements=judgements)

    expected = "Of 3 points, 1 regressed, 1 could not be judged and 1 pass."
    assert content.headline(report) == expected
    assert content.verdict(report) is Verdict.REGRESSION


def test_a_single_judgement_is_named():
    """One point needs no counting."""
    assert content.headline(samples.single()) == "fp8-b192-c4: undecided."


def test_nothing_judged_is_no_pass():
    """An empty run has no verdict and says so."""
    assert content.verdict(samples.empty()) is None
    assert content.headline(samples.empty()) == "Nothing was judged."


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_place_and_a_next_step(verdict):
    """No verdict is left without rank, words and advice."""
    report = content.Report(info=samples.INFO, judgements=(a_judgement(verdict),))

    assert content.verdict(report) is verdict
    assert content.NEXT_STEP[verdict]
    assert content.headline(report)


def test_every_trouble_is_told_and_no_pass_is():
    """Troubles are the judgements that are no PASS, sorted by urgency."""
    found = content.troubles(samples.invalid())

    assert [judgement.point for judgement in found] == ["fp8-b192-c192", "fp8-b192-c256"]


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


def test_hardware_is_labelled_simulated_only_where_it_is():
    """The label follows the run, whatever the profile is called."""
    simulated = dataclasses.replace(samples.INFO, hardware="gb10-sim")

    assert content.hardware_label(simulated) == "SIMULATED gb10"
    assert content.hardware_label(dataclasses.replace(simulated, simulated=False)) == "gb10-sim"
