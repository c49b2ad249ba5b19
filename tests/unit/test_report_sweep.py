"""A sweep as people see it."""

from dataclasses import replace

import pytest

from perfgate.report.plots import curve_svg
from perfgate.report.sweep import drawn_curve, sweep_html, sweep_text
from tests.unit.sim_samples import gb10
from tests.unit.sweep_samples import a_rate_file, a_sweep_file

pytestmark = pytest.mark.unit


def test_the_terminal_gets_table_sentence_knee_and_what_the_band_is():
    """In this order, and SIMULATED on top."""
    lines = sweep_text(a_sweep_file()).splitlines()

    assert lines[0].startswith("SIMULATED gb10")
    assert any(line.split()[:2] == ["160", "3030"] for line in lines)
    told = [
        line for line in lines if line.startswith(("Concurrency", "The knee", "Bands", "Ended"))
    ]
    assert [line.split()[0] for line in told[:4]] == ["Concurrency", "The", "Bands", "Ended:"]


def test_what_could_not_be_used_is_told():
    """A vetoed and a broken concurrency are named with their reasons, never left out in silence."""
    text = sweep_text(a_sweep_file())

    assert "INVALID fp8-b192-c64: the <b>client</b> was slow" in text
    assert "Not measured: concurrency 256: every stream was reset" in text


def test_an_interrupted_sweep_says_how_to_go_on():
    """It is not taken for a whole one."""
    content = a_sweep_file()
    cut = replace(content, engines=(replace(content.engines[0], ended=""),))

    assert "interrupted; run the same command again" in sweep_text(cut)


def test_virtual_time_says_that_no_server_ran():
    """In the terminal and on the page."""
    content = a_sweep_file(virtual=True)

    assert "No server ran" in sweep_text(content)
    assert "No server ran" in sweep_html(content, gb10())
    assert "No server ran" not in sweep_text(a_sweep_file())


def test_the_page_escapes_loads_nothing_and_draws_each_engine():
    """One file, every string of the run escaped, two drawings an engine with ids of their own."""
    page = sweep_html(a_sweep_file(), gb10())

    assert "<b>client</b>" not in page
    assert "&lt;b&gt;client" in page
    assert "Content-Security-Policy" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
    assert page.count("<svg") == 4


def test_bands_are_drawn():
    """Each throughput has its whisker, and the legend says what it is."""
    content = a_sweep_file()
    drawing = curve_svg(drawn_curve(content.engines[0], gb10()))

    assert drawing.count('class="band"') >= 3 * len(content.engines[0].result.rows)
    assert "95 % band" in drawing


def test_rates_have_a_table_a_sentence_and_a_curve_of_their_own():
    """What the server cannot keep up with has no latency, in the table and in the drawing."""
    content = a_rate_file()
    lines = sweep_text(content).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line and line[0].isdigit()}
    page = sweep_html(content, gb10())

    assert "Poisson arrivals" in lines[2]
    assert rows["16"][1:3] == ["16.00", "2048"]
    assert (rows["16"][-1], rows["20.5"][-1]) == ("yes", "no")
    assert rows["32"].count("behind") == 4
    assert any(line.startswith("Up to 16 requests/s (2048 tok/s)") for line in lines)
    assert "INVALID fp8-b192-r8: the <b>client</b> was slow." in lines
    assert "Not measured: 12 requests/s: every stream was reset." in lines
    assert "Requests offered a second" in page
    assert "&lt;b&gt;client" in page
    assert "requests/s 20.5: 2624 tok/s, P95 7.12 s, over the ceiling" in page
    assert page.count("requests/s 32: 3200 tok/s, P95 unknown") == 2  # a dot in each width
