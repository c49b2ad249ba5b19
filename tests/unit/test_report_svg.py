"""The elements and scales charts are drawn with."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perfgate.report import svg

pytestmark = pytest.mark.unit

VALUES = st.floats(-1e6, 1e6)


def test_text_and_attributes_are_escaped():
    """Nothing a caller passes can open a tag or leave an attribute."""
    drawn = svg.element("text", "<b>", class_='a"b')

    assert drawn == '<text class="a&#34;b">&lt;b&gt;</text>'


def test_what_is_drawn_already_is_not_escaped_again():
    """Elements nest."""
    assert svg.element("g", svg.element("line", x1=1.0)) == '<g><line x1="1"/></g>'


@given(low=VALUES, high=VALUES)
def test_ticks_are_round_few_and_inside(low, high):
    """Ticks are equally spaced multiples of 1, 2 or 5 times a power of ten, within the domain."""
    assume(high - low > 1e-3)
    scale = svg.Scale(low, high, 0, 100)
    ticks = scale.ticks(5)
    step = svg.round_step((high - low) / 5)

    assert 2 <= len(ticks) <= 6
    assert all(low - step * 1e-6 <= tick <= high + step * 1e-6 for tick in ticks)
    assert any(
        math.isclose(step, digit * 10.0 ** math.floor(math.log10(step) + 1e-9))
        for digit in (1, 2, 5)
    )


def test_a_tick_has_the_decimals_of_its_step():
    """0.5 apart needs one decimal, 1000 apart none."""
    assert svg.tick_label(1.5, 0.5) == "1.5"
    assert svg.tick_label(2000.0, 1000.0) == "2000"


def test_a_scale_maps_its_ends_to_its_pixels():
    """Upside-down pixels, as SVG has them, work too."""
    scale = svg.Scale(0, 10, 200, 100)

    assert (scale(0), scale(10), scale(5)) == (200, 100, 150)


def test_a_figure_names_and_describes_itself():
    """A screen reader finds title and description."""
    drawn = svg.figure("k", title="T & t", description="d", size=(10, 20), margin=5, content=[])

    assert 'viewBox="-5 -5 20 30"' in drawn
    assert 'role="img" aria-labelledby="k-title k-desc"' in drawn
    assert '<title id="k-title">T &amp; t</title>' in drawn
