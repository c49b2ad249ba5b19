"""The run as a CI job summary."""

import re

import pytest

from perfgate.report.content import rows
from perfgate.report.markdown import render_markdown
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def table_of(text, number=0):
    """The cells of each line of a Markdown table, by default the first."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    lines = tables[number].splitlines() if tables else []
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("name", [name for name in samples.ALL if name != "empty"])
def test_every_point_has_a_row_of_every_column(name):
    """No row is torn, whatever a name holds."""
    report = samples.ALL[name]()
    head, _, *lines = table_of(render_markdown(report))

    assert len(lines) == len(rows(report))
    assert {len(line) for line in lines} == {len(head)}


def test_a_row_shows_the_measured_numbers():
    """Throughput and P95 are the measurement's."""
    report = samples.passing()
    head, _, *lines = table_of(render_markdown(report))

    for line, measurement in zip(lines, report.measurements, strict=True):
        shown = dict(zip(head, line, strict=True))
        assert shown["point"] == measurement.point.id
        assert float(shown["tok/s"]) == pytest.approx(measurement.throughput_tok_s, rel=1e-3)
        assert float(shown["P95"].split()[0]) == pytest.approx(measurement.latency_s.p95, rel=1e-2)


def test_server_and_gpu_have_a_table_of_their_own():
    """Each watched point has a row, folded away under its summary."""
    report = samples.passing()
    text = render_markdown(report)
    head, _, *lines = table_of(text, 1)

    assert "<summary>Server and GPU" in text
    assert len(lines) == len(report.measurements)
    assert {len(line) for line in lines} == {len(head)}


def test_hostile_text_stays_text():
    """No tag, code span, link or mention comes of a name or message."""
    text = render_markdown(samples.hostile())

    assert "<script" not in text
    assert not re.search(r"(?<!\\)\[b(?<!\\)\]", text)
    assert not re.search(r"(?<!\\)@d", text)
    assert not re.search(r"(?<!\\)`a", text)


def test_the_summary_says_what_to_do_and_where_more_is():
    """Headline, advice, findings and artefact names are there."""
    text = render_markdown(samples.regression())

    assert "Of 8 points and 3 comparisons, 4 regressed and 7 pass." in text
    assert "### ❌ REGRESSION: fp8-b192-c160" in text
    assert "*Compare TTFT and TPOT with earlier runs.*" in text
    assert "`report.html`" in text


def test_simulated_runs_carry_the_label():
    """The heading and a note say SIMULATED, for hardware neither does."""
    assert "## ✅ Performance: SIMULATED gb10" in render_markdown(samples.passing())
    assert "SIMULATED" not in render_markdown(samples.hardware())


def test_missing_numbers_are_words():
    """A percentile the sample cannot hold is no zero."""
    _, _, line = table_of(render_markdown(samples.single()))

    assert line[6] == "too few"


def test_an_empty_run_says_so():
    """No table is drawn for no points."""
    text = render_markdown(samples.empty())

    assert "No operating point was measured." in text
    assert table_of(text) == []
