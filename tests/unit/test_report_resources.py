"""The table of what server and GPU did."""

from dataclasses import replace

import pytest

from perfgate.model import ResourceUse
from perfgate.report.html import render_html
from perfgate.report.resources import resource_table
from tests.unit import report_samples as samples
from tests.unit.factories import a_measurement, a_point

pytestmark = pytest.mark.unit

SIM = ResourceUse(
    samples=200, kv_cache_peak=0.625, active_mean=160.0, waiting_mean=0.0, gpu_utilization_mean=0.97
)
GPU = ResourceUse(samples=150, sm_clock_mean_mhz=2411.0, power_mean_w=38.5, temperature_max_c=71.0)


def watched(resources, point_id="fp8-b192-c160"):
    """A measurement with that use of resources."""
    return replace(a_measurement(a_point(point_id)), resources=resources)


def test_shares_and_means_are_shown_with_their_units():
    """A waiting mean of zero is a zero: it was measured."""
    titles, (line,) = resource_table([watched(SIM)])

    assert dict(zip(titles, line, strict=True)) == {
        "point": "fp8-b192-c160",
        "KV cache peak": "62.5 %",
        "active": "160",
        "waiting": "0",
        "GPU busy": "97.0 %",
        "samples": "200",
    }


def test_a_column_nobody_has_is_left_out_and_a_missing_value_is_a_dash():
    """On a simulated target no column speaks of watts; beside a GPU its gap is no zero."""
    titles, lines = resource_table([watched(SIM, "a"), watched(GPU, "b")])
    sim, gpu = (dict(zip(titles, line, strict=True)) for line in lines)

    assert gpu["power"] == "38.5 W"
    assert gpu["SM clock"] == "2411 MHz"
    assert gpu["hottest"] == "71.0 °C"
    assert gpu["KV cache peak"] == "-"
    assert sim["power"] == "-"


def test_a_point_that_was_not_watched_has_no_row():
    """Nothing watched is no table at all."""
    assert resource_table([watched(None)])[1] == []
    assert len(resource_table([watched(None, "a"), watched(SIM, "b")])[1]) == 1


def test_the_page_has_the_table_where_there_is_one():
    """The section is left out where nothing was watched."""
    report = samples.passing()
    bare = replace(
        report, measurements=tuple(replace(m, resources=None) for m in report.measurements)
    )

    assert ">Server and GPU</h2>" in render_html(report)
    assert ">Server and GPU</h2>" not in render_html(bare)
