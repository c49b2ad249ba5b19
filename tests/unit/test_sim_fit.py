"""The fit recovers what is planted, and the committed profile is its result."""

from __future__ import annotations

import dataclasses

import pytest

from perfgate.errors import UsageError
from perfgate.model import Claim
from perfgate.sim.fit import FLOOR_MARGIN, aim_tok_s, fit, reference_points, schedule
from perfgate.sim.virtual import simulate, steady_state
from perfgate.suite import load_suite
from tests.unit.sim_samples import ROOT, a_parameter, a_profile, a_reference_point, gb10

pytestmark = pytest.mark.unit


def parameter_values(profile):
    """All parameters of a profile by name."""
    parameters = profile.simulation.parameters
    return {f.name: getattr(parameters, f.name).value for f in dataclasses.fields(parameters)}


def test_the_kept_schedule_predicts_the_simulation():
    """Tokens over the sum of costs is the throughput of the virtual run."""
    point = load_suite(ROOT).point("fp8-b16-c16")
    run = simulate(point.engine, point.serving, point.workload, gb10(), requests=160)

    predicted = schedule(point).throughput_tok_s(gb10())
    assert predicted == pytest.approx(steady_state(run).throughput_tok_s, rel=0.003)


def test_the_fit_finds_a_planted_parameter():
    """From throughputs of a GPU of known efficiency the fit recovers the efficiency."""
    points = [a_reference_point(), dataclasses.replace(a_reference_point(), id="q")]
    planted = a_profile(bandwidth_efficiency=a_parameter(0.7))
    reported = schedule(points[0]).throughput_tok_s(planted)
    start = a_profile(
        bandwidth_efficiency=a_parameter(0.5, fitted=True),
        reference=(("p", reported), ("q", reported)),
        step_time_factor=1.05,
    )

    fitted = fit(start, points)

    assert parameter_values(fitted)["bandwidth_efficiency"] == pytest.approx(0.7, rel=1e-3)
    assert fitted.simulation.step_time_factor == 1.05


def test_as_many_parameters_as_points_are_no_model():
    """A free parameter per point is refused."""
    profile = a_profile(
        bandwidth_efficiency=a_parameter(0.5, fitted=True), reference=(("p", 100.0),)
    )

    with pytest.raises(UsageError, match="fitted parameters: got 1"):
        fit(profile, [a_reference_point()])


def test_a_reference_must_be_an_operating_point():
    """A reference nobody measures is a mistake in the profile."""
    with pytest.raises(UsageError, match=r"simulation.reference.point: got 'x', .* one of p"):
        reference_points(a_profile(reference=(("x", 1.0),)), [a_reference_point()])


def test_the_aim_keeps_clear_of_the_floor():
    """A reported value at its floor is fitted with a margin; one well above is taken as it is."""
    claim = Claim(hardware="gb10", floor_tok_s=100.0, source="test")
    point = a_reference_point(claim=claim)

    assert aim_tok_s(point, "gb10", 100.0) == pytest.approx(100 * (1 + FLOOR_MARGIN))
    assert aim_tok_s(point, "gb10", 120.0) == 120.0
    assert aim_tok_s(a_reference_point(), "gb10", 50.0) == 50.0


def test_the_gb10_profile_is_the_result_of_its_fit():
    """The committed parameters are what the fit gives, to the digits they are written with."""
    fitted = fit(gb10(), load_suite(ROOT).points)

    for name, value in parameter_values(gb10()).items():
        assert value == pytest.approx(parameter_values(fitted)[name], rel=2e-3), name
