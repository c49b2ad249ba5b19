"""Numbers are worded with sensible digits and units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.report import numbers

pytestmark = pytest.mark.unit

POSITIVE = st.floats(min_value=1e-9, max_value=1e9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(6.8812, "6.88 s"), (0.3104, "310 ms"), (0.05012, "50.1 ms"), (4.2e-5, "42.0 µs"), (0, "0 s")],
)
def test_a_duration_carries_the_unit_that_suits_it(seconds, text):
    """Seconds, milliseconds or microseconds, always with three significant digits."""
    assert numbers.duration(seconds) == text


@given(POSITIVE)
def test_rounding_keeps_three_digits_true(value):
    """What is shown differs from the value by less than one unit of its third digit."""
    shown = float(numbers.significant(value))

    assert math.isclose(shown, value, rel_tol=0.0051)


@given(POSITIVE)
def test_no_positive_time_is_shown_as_zero(seconds):
    """A time that was measured never reads as nothing."""
    assert float(numbers.duration(seconds).split()[0]) > 0


def test_whole_digits_are_never_dropped():
    """3033 tok/s stays 3033, not 3030."""
    assert numbers.tok_s(3033.4) == "3033"
    assert numbers.tok_s(12345.6) == "12346"
    assert numbers.tok_s(301.42) == "301.4"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0112, "+1.1 %"), (-0.043, "-4.3 %"), (0.0, "0.0 %"), (-0.0001, "-0.01 %")],
)
def test_a_small_change_is_not_shown_as_none(fraction, text):
    """A hair under the floor keeps its sign and a digit."""
    assert numbers.change(fraction) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3000.0, "tok/s", "3000 tok/s"),
        (6.9, "s", "6.90 s"),
        (1.6, "", "1.600"),
        (128.0, "requests", "128.0 requests"),
        (None, "s", "none"),
    ],
)
def test_a_findings_number_is_shown_in_its_unit(value, unit, text):
    """Throughputs, times, plain ratios and missing numbers each have their form."""
    assert numbers.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.6, "42 s"), (402, "6 min 42 s"), (3900, "1 h 05 min")]
)
def test_a_stretch_of_time_reads_like_speech(seconds, text):
    """Wall time is given in the two largest units."""
    assert numbers.span(seconds) == text


def test_a_missing_percentile_is_words():
    """What the sample cannot hold is said in words."""
    assert numbers.duration_or_words(None) == "too few"
