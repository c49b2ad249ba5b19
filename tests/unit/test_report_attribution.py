"""Where the time goes, as the report shows it."""

from dataclasses import replace

import pytest

from perfgate.model import Attribution, Phase
from perfgate.report.attribution import (
    COLUMNS,
    attribution_chart,
    attribution_notes,
    attribution_table,
)
from perfgate.report.html import render_html
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit

APART = Attribution(
    requests=64,
    latency_s=4.0,
    decode_steps=127,
    phases_s={
        Phase.CLIENT: 0.0,
        Phase.QUEUE: 0.5,
        Phase.PREFILL: 0.25,
        Phase.DECODE: 3.175,
        Phase.NETWORK: 0.075,
    },
    note="two clocks",
)
UNTOLD = Attribution(requests=0, latency_s=4.0, decode_steps=127, note="no stamps")


def a_measured(attribution):
    """One point with this attribution."""
    return replace(samples.passing().measurements[0], attribution=attribution)


def test_each_phase_stands_in_its_column():
    """In its own unit; decode by its step too; what cannot be told is a dash."""
    (line,) = attribution_table([a_measured(APART)])
    said = dict(zip(COLUMNS, line, strict=True))

    assert said["queue"] == "500 ms"
    assert said["decode"] == "3.17 s"
    assert said["step"] == "25.0 ms"
    assert said["way in"] == said["postprocessing"] == "-"
    assert said["way back"] == "75.0 ms"


def test_the_bars_fill_the_whole():
    """Each point's phases reach from 0 to 100 %."""
    drawn = str(attribution_chart([a_measured(APART)]))

    assert "engine 98.1 %, outside 1.9 %" in drawn
    assert drawn.count("<rect") == len(APART.phases_s) + 4  # and four in the legend


def test_what_cannot_be_told_is_a_note_with_its_points():
    """No bar is drawn without phases; the reason is said once for all its points."""
    measured = [a_measured(UNTOLD), a_measured(UNTOLD)]
    point = measured[0].point.id

    assert attribution_notes(measured) == [f"no stamps ({point}, {point})"]
    assert str(attribution_chart(measured)) == ""


def test_a_run_from_before_shows_no_section():
    """Measurements without an attribution leave the section out."""
    report = samples.passing()
    before = tuple(replace(one, attribution=None) for one in report.measurements)

    assert "Where the time goes" in render_html(report)
    assert "Where the time goes" not in render_html(replace(report, measurements=before))
