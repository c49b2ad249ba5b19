"""What a reader of a failed job sees first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.gate import explain, judge
from perfgate.gate.wording import amount, percent
from perfgate.model import Policy
from tests.unit.factories import a_cell, a_claim, a_measurement, a_point

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2871.4, "tok/s", "2871.4 tok/s"),
        (6.9312, "s", "6.931 s"),
        (0.05331, "s", "53.31 ms"),
        (1.6, "", "1.6"),
    ],
)
def test_amounts_have_a_unit_and_a_sensible_precision(value, unit, text):
    """Short times are told in milliseconds."""
    assert amount(value, unit) == text


@given(st.floats(1e-12, 10))
def test_a_difference_is_never_shown_as_none(fraction):
    """A tiny excess does not read as 0.0 %."""
    assert percent(fraction) == percent(-fraction)
    assert not percent(fraction).startswith("0.0")


def test_an_explanation_has_verdict_reason_records_and_next_step():
    """Findings that pass are left out of a failure's text."""
    slow = a_measurement(a_point(claim=a_claim()), throughput_tok_s=2871)

    assert explain(judge(slow, a_cell(samples=()), Policy())) == (
        "REGRESSION fp8-b192-c160\n"
        "  REGRESSION: fp8-b192-c160: throughput 2871 tok/s is 4.3 % under the floor of 3000 tok/s."
        "\n    To see why: perfgate report artifacts. If it is intended, change the point's claim "
        "in points.toml, then: perfgate baseline record artifacts --replace\n"
        "  Records: artifacts/records/fp8-b192-c160.jsonl.gz"
    )


def test_a_pass_is_explained_by_all_its_findings():
    """With nothing to complain of, every check is listed."""
    text = explain(judge(a_measurement(), a_cell(), Policy()))

    assert text.startswith("PASS fp8-b192-c160")
    assert text.count("PASS: ") == 6
