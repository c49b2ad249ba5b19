"""What `perfgate simulate` says of the GB10."""

from __future__ import annotations

import dataclasses

import pytest

from perfgate.errors import UsageError
from perfgate.sim.report import parameters_text, report_text, simulation_report
from perfgate.suite import load_suite
from tests.unit.sim_samples import ROOT, a_profile, gb10

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def report():
    """The GB10's report with a short sweep."""
    return simulation_report(gb10(), load_suite(ROOT).points, concurrencies=(16, 64, 160, 192))


def test_every_reported_point_is_met_within_five_percent(report):
    """Five points, none further than 5 % from what was reported."""
    assert len(report.references) == 5
    for row in report.references:
        assert abs(row.residual) <= 0.05, row


def test_every_floor_is_cleared_by_more_than_noise(report):
    """Four floors, each with at least 1.5 % to spare; P95 under every ceiling."""
    floors = [row for row in report.references if row.floor_tok_s]

    assert len(floors) == 4
    for row in floors:
        assert row.floor_met
        assert row.simulated_tok_s >= 1.015 * row.floor_tok_s
        assert row.ceiling_met
        assert row.latency_p95_s < row.ceiling_p95_s


def test_the_physics_of_the_report_is_reproduced(report):
    """FP8 is 1.6 times as fast; 192 clients are faster than 160 but break the P95 ceiling."""
    rows = {row.point: row for row in report.references}
    speedup = rows["fp8-b16-c16"].simulated_tok_s / rows["fp16-b16-c16"].simulated_tok_s

    assert speedup >= 1.63
    assert rows["fp8-b192-c192"].simulated_tok_s > rows["fp8-b192-c160"].simulated_tok_s
    assert rows["fp8-b192-c192"].latency_p95_s > 7.0


def test_the_sweep_rises_under_the_roofline(report):
    """More clients, more throughput and more latency, and never more than the memory allows."""
    throughputs = [row.throughput_tok_s for row in report.sweep]
    latencies = [row.latency_p50_s for row in report.sweep]

    assert [row.concurrency for row in report.sweep] == [16, 64, 160, 192]
    assert throughputs == sorted(throughputs)
    assert latencies == sorted(latencies)
    assert all(row.throughput_tok_s < row.roofline_tok_s for row in report.sweep)


def test_the_text_is_labelled_and_complete(report):
    """The rendering says that it is simulated, and shows every point, floor and parameter."""
    text = report_text(report)

    assert text.startswith("SIMULATED gb10")
    assert "planted" not in text
    for row in report.references:
        assert row.point in text
    assert "fp8_bandwidth_loss" in parameters_text(report.parameters)
    assert parameters_text(report.parameters) in text


def test_a_missed_floor_and_a_planted_slowdown_are_shown(report):
    """A slower GPU misses its floors, and the text says why."""
    missed = dataclasses.replace(report.references[0], floor_met=False)
    slow = dataclasses.replace(report, references=(missed,), step_time_factor=1.05)

    text = report_text(slow)

    assert "MISSED" in text
    assert "a slowdown is planted: every step takes 1.05 times as long" in text


def test_a_profile_without_references_has_nothing_to_show():
    """No reference point is a mistake, not an empty table."""
    with pytest.raises(UsageError, match=r"simulation\.reference"):
        simulation_report(a_profile(), load_suite(ROOT).points)
