"""A run beside earlier ones: what changed, run by run and point by point."""

import pytest

from perfgate.report import numbers
from perfgate.report.earlier import changes, history_chart, table, unchanged
from perfgate.report.html import render_html
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def report():
    """The regression beside two earlier runs, the first of which lacks the first point."""
    return samples.compared()


def test_each_change_is_explained_against_the_latest_run(report):
    """A decode step 6 % longer is found at every point, and nothing else is blamed."""
    told = changes(report.earlier, report.measurements)

    assert len(told) == len(report.measurements)
    for change in told:
        assert any(cause.startswith("decode step") for cause in change.causes)
        assert "loss" in change.causes[0]
    monday, tuesday = (run.measurements for run in report.earlier)
    assert f"throughput {numbers.tok_s(tuesday[1].throughput_tok_s)} ->" in told[1].headline
    assert tuesday[1].point == monday[0].point
    assert numbers.tok_s(tuesday[1].throughput_tok_s) != numbers.tok_s(monday[0].throughput_tok_s)


def test_what_did_not_change_is_only_named(report):
    """Against itself a run has no change, and every point is listed as such."""
    same = report.earlier[1].measurements

    assert changes(report.earlier[1:], same) == []
    assert unchanged(report.earlier[1:], same) == [one.point.id for one in same]


def test_the_table_has_a_line_for_each_run_that_has_the_point(report):
    """Oldest first; a point that a run lacks has no line, not an empty one."""
    lines = table(report.earlier, report.measurements)
    first, second = report.measurements[0].point.id, report.measurements[1].point.id

    assert [line[1] for line in lines if line[0] == first] == ["tuesday"]
    assert [line[1] for line in lines if line[0] == second] == ["monday", "tuesday"]
    now, before = report.measurements[1], report.earlier[0].measurements[0]
    assert lines[1][2:4] == (
        numbers.tok_s(before.throughput_tok_s),
        numbers.change(now.throughput_tok_s / before.throughput_tok_s - 1),
    )


def test_the_chart_has_a_dot_a_run(report):
    """Of each point: its earlier runs and this one."""
    drawn = str(history_chart(report.earlier, report.measurements))
    runs = sum(len(run.measurements) for run in report.earlier) + len(report.measurements)

    assert drawn.count('class="round-dot"') == runs + 1  # and one in the legend


def test_the_page_tells_it():
    """The section names the runs; a run alone has none."""
    page = render_html(samples.compared())

    assert "Against earlier runs" in page
    assert "monday" in page
    assert "Against earlier runs" not in render_html(samples.passing())
