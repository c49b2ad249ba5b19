"""The sentences drawn from a run."""

import dataclasses
import itertools

import pytest

from perfgate.gate.verdicts import exit_code
from perfgate.model import Finding, Judgement, Verdict
from perfgate.report import sentences
from perfgate.report.content import Report
from perfgate.report.html import render_html
from perfgate.report.markdown import render_markdown
from perfgate.report.table import render_text
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def a_judgement(verdict, point="fp8-b192-c160"):
    """A verdict without findings."""
    return Judgement(point=point, verdict=verdict, findings=())


def test_a_run_without_trouble_is_one_plain_sentence():
    """All points and comparisons are counted."""
    assert sentences.headline(samples.passing()) == "All 8 points and 3 comparisons pass."


def test_the_headline_counts_each_verdict_the_most_urgent_first():
    """Regressions come before points that could not be judged, passes last."""
    judgements = tuple(
        a_judgement(verdict, f"p{i}")
        for i, verdict in enumerate((Verdict.PASS, Verdict.INVALID, Verdict.REGRESSION))
    )
    report = Report(info=samples.INFO, judgements=judgements)

    expected = "Of 3 points, 1 regressed, 1 could not be judged and 1 pass."
    assert sentences.headline(report) == expected
    assert sentences.verdict(report) is Verdict.REGRESSION


def test_a_single_judgement_is_named():
    """One point needs no counting."""
    assert sentences.headline(samples.single()) == "fp8-b192-c4: undecided."


def test_nothing_judged_is_no_pass():
    """An empty run has no verdict and says so."""
    assert sentences.verdict(samples.empty()) is None
    assert sentences.headline(samples.empty()) == "Nothing was judged."
    assert "selection of points" in sentences.next_step(samples.empty())


def test_what_was_measured_and_not_judged_is_told_apart_from_an_empty_run():
    """The selection was right; what is missing is something to hold the points against."""
    report = dataclasses.replace(samples.passing(), judgements=(), comparisons=())

    assert "a floor, a ceiling or an accepted baseline" in sentences.next_step(report)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_place_and_a_next_step(verdict):
    """No verdict is left without rank, words and advice."""
    report = Report(info=samples.INFO, judgements=(a_judgement(verdict),))

    assert sentences.verdict(report) is verdict
    assert sentences.next_step(report)
    assert sentences.headline(report)


def test_every_trouble_is_told_and_no_pass_is():
    """Troubles are the judgements that are no PASS, sorted by urgency."""
    found = sentences.troubles(samples.invalid())

    assert [judgement.point for judgement in found] == ["fp8-b192-c192", "fp8-b192-c256"]


def test_an_advice_is_given_once():
    """Findings in a row that share an advice carry it at the last; the point is not repeated."""
    findings = tuple(
        Finding(check=check, verdict=Verdict.INVALID, message=f"p: {check} broke", advice=advice)
        for check, advice in (("a", "Again."), ("b", "Again."), ("c", "Look."))
    )
    told = sentences.telling(Judgement(point="p", verdict=Verdict.INVALID, findings=findings))

    assert [(each.message, each.advice) for each in told] == [
        ("a broke", ""),
        ("b broke", "Again."),
        ("c broke", "Look."),
    ]


def test_a_comparison_answers_in_one_line():
    """A pass says everything; a trouble says its first finding and that there are more."""

    def a_comparison(verdict):
        findings = tuple(
            Finding(check="equal", verdict=verdict, message=message)
            for message in ("TPOT agrees.", "TTFT gained")
        )
        return Judgement(point="fmha", verdict=verdict, findings=findings)

    assert sentences.answer(a_comparison(Verdict.PASS)) == "TPOT agrees; TTFT gained."
    assert sentences.answer(a_comparison(Verdict.INVALID)) == "TPOT agrees. (and 1 more below)"
    assert sentences.answer(a_judgement(Verdict.INVALID)) == ""


def test_hardware_is_labelled_simulated_only_where_it_is():
    """The label follows the run, whatever the profile is called."""
    simulated = dataclasses.replace(samples.INFO, hardware="gb10-sim")

    assert sentences.hardware_label(simulated) == "SIMULATED gb10"
    assert sentences.hardware_label(dataclasses.replace(simulated, simulated=False)) == "gb10-sim"


@pytest.mark.parametrize("pair", list(itertools.combinations(Verdict, 2)), ids="-".join)
def test_the_page_and_the_shell_agree(pair):
    """The headline's verdict is the one that the exit code tells of."""
    judgements = tuple(a_judgement(verdict) for verdict in pair)
    shown = sentences.verdict(Report(info=samples.INFO, judgements=judgements))

    assert exit_code([a_judgement(shown)]) == exit_code(judgements)


def test_the_description_says_what_the_curve_shows():
    """Who cannot see the chart reads its message."""
    said = sentences.described(samples.passing().curve)

    assert "The knee lies at concurrency 128." in said
    assert "The operating range is concurrency 128-160." in said
    assert "P95 exceeds its ceiling of 7.00 s at concurrency 192." in said


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_every_report_shows_what_is_noted_of_a_point(render):
    """A second try at half the speed is told beside the table, also of a point that passed."""
    report = samples.passing()
    first, *others = report.measurements
    noted = dataclasses.replace(first, notes=samples.NOTES)
    told = " ".join(render(dataclasses.replace(report, measurements=(noted, *others))).split())

    line = f"{first.point.id}: simulated 2 times slower than real time"
    assert line in told
    assert "the first was disturbed (client-lag): fp8.disturbed.jsonl.gz." in told
    assert line not in render(report)
