"""The run as plain text."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.model import Verdict
from perfgate.report.content import rows
from perfgate.report.table import render_text
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,80}", fullmatch=True)
MESSAGES = st.text(st.characters(codec="ascii"), max_size=300)


@pytest.mark.parametrize("name", samples.ALL)
def test_no_line_is_wider_than_the_page(name):
    """Every sample run fits 110 columns."""
    assert max(map(len, render_text(samples.ALL[name]()).splitlines())) <= 110


@given(point=NAMES, message=MESSAGES, verdict=st.sampled_from(Verdict))
def test_no_name_or_message_breaks_the_page(point, message, verdict):
    """Long names are shortened and long messages wrapped: 110 columns always hold."""
    report = samples.single()
    finding = dataclasses.replace(report.judgements[0].findings[0], message=message, advice=message)
    judgement = dataclasses.replace(
        report.judgements[0], point=point, verdict=verdict, findings=(finding,)
    )
    text = render_text(
        dataclasses.replace(report, judgements=(judgement,), comparisons=(judgement,))
    )

    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("name", ["passing", "regression", "invalid", "single", "hardware"])
def test_every_point_has_a_line_with_its_numbers_and_verdict(name):
    """A line shows throughput, floor, P95, ceiling and verdict of its own point."""
    report = samples.ALL[name]()
    text = render_text(report)

    for row in rows(report):
        line = next(line for line in text.splitlines() if line.startswith(f"{row.point} "))
        assert line.endswith(row.verdict)
        if row.measurement is not None:
            assert float(line.split()[3]) == pytest.approx(
                row.measurement.throughput_tok_s, rel=1e-3
            )


def test_the_heading_says_simulated_first():
    """Nobody takes a simulated run for hardware."""
    assert render_text(samples.passing()).startswith("SIMULATED gb10 ")
    assert "SIMULATED" not in render_text(samples.hardware())


def test_a_missing_percentile_and_floor_are_words():
    """Where there is no number there is no zero."""
    line = next(
        line for line in render_text(samples.single()).splitlines() if "fp8-b192-c4 " in line
    )

    assert "too few" in line
    assert "none" in line
    assert not re.search(r"\b0(\.0+)?\b", line)


def test_each_trouble_is_followed_by_what_to_do():
    """The finding's message, its advice and the records stand together."""
    text = " ".join(render_text(samples.regression()).split())

    assert "REGRESSION fp8-b192-c160 floor: output token throughput 2878 tok/s" in text
    assert "-> Compare TTFT and TPOT with earlier runs." in text
    assert "records: records/fp8-b192-c160.jsonl.gz" in text


def test_each_comparison_is_a_line_of_its_own():
    """Comparisons follow the table with verdict and message."""
    assert "fp8-over-fp16: PASS. FP8 1.68 times FP16" in render_text(samples.passing())


def test_colour_changes_nothing_but_colour():
    """Without its escapes, coloured text is the plain text."""
    report = samples.regression()
    coloured = render_text(report, colour=True)

    assert "\x1b[1;31mREGRESSION\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_text(report)


def test_an_empty_run_says_so():
    """No table is drawn for no points."""
    assert "No operating point was measured." in render_text(samples.empty())


def test_our_own_words_are_ascii():
    """Any terminal can show the text."""
    assert render_text(samples.regression()).isascii()
