"""GitHub annotations: one command a trouble, at the line of its point, whatever its text holds."""

import re
from dataclasses import replace

import pytest

from perfgate.exports.annotations import github_annotations, lines_of
from perfgate.model import Verdict
from perfgate.suite import load_suite
from tests.unit import report_samples as samples
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

COMMAND = re.compile(r"::(?P<level>error|warning|notice) (?P<properties>[^\n]*?)::(?P<data>[^\n]*)")


def read(text):
    """What a runner reads: level, properties and message of each command."""
    found = []
    for line in text.splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        pairs = dict(pair.split("=", 1) for pair in match["properties"].split(","))
        plain = {name: unescaped(value) for name, value in pairs.items()}
        found.append((match["level"], plain, unescaped(match["data"])))
    return found


def unescaped(text):
    """The runner's decoding, the percent sign last."""
    for code, sign in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_a_pass_says_nothing():
    """A run without trouble leaves no annotation."""
    assert github_annotations(samples.passing(), file="points.toml", lines={}) == ""


def test_each_trouble_stands_at_its_point():
    """The most urgent first, as an error, on the line where the point is defined."""
    report = samples.regression()
    text = (ROOT / "points.toml").read_text()
    (level, properties, message), *_ = read(
        github_annotations(report, file="points.toml", lines=lines_of(text))
    )
    point = properties["title"].split()[1]

    assert level == "error"
    assert properties["file"] == "points.toml"
    assert text.splitlines()[int(properties["line"]) - 1] == f'id = "{point}"'
    assert "REGRESSION" in properties["title"]
    assert message


def test_every_point_and_comparison_has_a_line():
    """The lines are found by the text that the suite itself reads."""
    suite = load_suite(ROOT)

    assert set(lines_of((ROOT / "points.toml").read_text())) == {
        one.id for one in (*suite.points, *suite.comparisons)
    }


def test_levels_follow_the_verdict():
    """Slower or unmeasurable is an error, undecided a warning, faster a notice."""
    levels = {
        properties["title"].split(":")[0]: level
        for sample in samples.ALL.values()
        for level, properties, _ in read(github_annotations(sample(), file="points.toml", lines={}))
    }

    assert (
        levels.items()
        >= {
            "REGRESSION": "error",
            "INVALID": "error",
            "INCONCLUSIVE": "warning",
            "IMPROVEMENT": "notice",
        }.items()
    )


def test_text_of_the_run_cannot_start_a_command():
    """Line breaks, colons, commas and percent signs come through as themselves."""
    hostile = "50%0A\n::error file=x,title=y::z\r%25"
    report = samples.regression()
    finding = replace(report.judgements[0].findings[0], message=hostile)
    broken = replace(
        report.judgements[0], point=hostile, verdict=Verdict.INVALID, findings=(finding,)
    )
    text = github_annotations(
        replace(report, judgements=(broken,), comparisons=()), file="a:b,c%.toml", lines={}
    )
    ((_, properties, message),) = read(text)

    assert properties["file"] == "a:b,c%.toml"
    assert hostile in properties["title"]
    assert hostile in message
    assert text.count("::") == 2 + 2  # the command's own, and those of the message as text
