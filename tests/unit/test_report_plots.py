"""The curve's drawing."""

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.report.content import Curve, CurvePoint, RooflinePoint
from perfgate.report.plots import NARROW, WIDE, curve_chart, curve_svg
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"

CURVES = st.builds(
    lambda points, knee, ceiling, bound: Curve(
        engine="fp8-b192",
        points=tuple(CurvePoint(c, t, p) for c, (t, p) in sorted(points.items())),
        knee=knee,
        ceiling_p95_s=ceiling,
        roofline=tuple(RooflinePoint(c, bound * c) for c in sorted(points)),
    ),
    points=st.dictionaries(
        st.integers(1, 512),
        st.tuples(st.floats(0.1, 1e5), st.none() | st.floats(1e-3, 1e3)),
        min_size=1,
        max_size=14,
    ),
    knee=st.none() | st.integers(1, 512),
    ceiling=st.none() | st.floats(1e-3, 1e3),
    bound=st.floats(1, 1e4),
)


def parsed(text):
    """The drawing as an element tree."""
    return ET.fromstring(text)  # noqa: S314 - our own output


def words(tree):
    """All text of the drawing."""
    return [node.text for node in tree.iter(f"{SVG}text")]


@given(curve=CURVES, width=st.sampled_from([WIDE, NARROW]))
def test_whatever_was_measured_can_be_drawn(curve, width):
    """Any curve gives well-formed SVG with a dot a point; no coordinate is NaN."""
    chart = curve_chart(curve, width=width)
    dots = [n for n in parsed(chart).iter(f"{SVG}circle") if n.get("class") == "measured-dot"]

    assert "nan" not in chart.lower().replace("dominant", "")
    assert len(dots) >= len(curve.points)


def test_knee_range_ceiling_and_roofline_are_marked():
    """All that the run knows about its curve is in the picture, in words."""
    said = words(parsed(curve_svg(samples.passing().curve)))

    assert "knee 128" in said
    assert "operating range 128-160" in said
    assert "ceiling 7.00 s" in said
    assert "roofline (memory bandwidth)" in said
    assert "over it" in said


def test_what_is_unknown_is_not_drawn():
    """Without knee, ceiling and roofline there are no marks of them, and no words."""
    bare = dataclasses.replace(samples.passing().curve, knee=None, ceiling_p95_s=None, roofline=())
    chart = curve_chart(bare)

    for mark in ("knee", "operating range", "ceiling", "roofline"):
        assert mark not in chart


def test_a_curve_without_any_p95_says_so():
    """The latency panel is not left empty without a word."""
    point = CurvePoint(4, 144.0, None)

    assert "too few requests for a P95" in curve_chart(Curve(engine="fp8", points=(point,)))


def test_no_two_values_of_a_crowded_curve_overlap():
    """Of values that would run into one another the earlier is left out."""
    tree = parsed(curve_chart(samples.sweep().curve, width=NARROW))
    values = [n for n in tree.iter(f"{SVG}text") if n.get("class") == "value" and n.text[0] != "k"]
    boxes = [(float(n.get("x")), float(n.get("y")), len(n.text) * 6.6) for n in values]

    assert len(boxes) > 8
    for x, y, wide in boxes:
        near = [b for b in boxes if b[0] > x and abs(b[1] - y) < 12]
        assert all(x + wide <= other for other, _, _ in near)


def test_the_file_brings_its_own_colours():
    """curve.svg stands alone: a white ground, every colour defined, nothing referred to."""
    text = curve_svg(samples.passing().curve)
    used = {part.split(")")[0] for part in text.split("var(")[1:]}

    assert all(f"{name}:" in text for name in used)
    assert "background:#fff" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_both_widths_have_ids_of_their_own():
    """The two drawings of one page do not share an id."""
    curve = samples.passing().curve
    ids = [
        node.get("id")
        for width in (WIDE, NARROW)
        for node in parsed(curve_chart(curve, width=width)).iter()
        if node.get("id")
    ]

    assert len(ids) == len(set(ids))
