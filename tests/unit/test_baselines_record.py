"""From claims and runs to a baseline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.baselines import empty, record
from perfgate.errors import BaselineError
from perfgate.gate import judge
from perfgate.model import Policy, Precision, Verdict, Veto
from tests.unit.factories import IDENTITY, a_claim, a_fingerprint, a_measurement, a_point

pytestmark = pytest.mark.unit

POLICY = Policy()
NOTHING = empty("gb10-sim", "llm-7b", Precision.FP8)
CLAIMED = a_point(claim=a_claim())


def recorded(points=(), measurements=(), baseline=NOTHING, **options):
    """Record with the same provenance everywhere."""
    return record(
        baseline, points, measurements, policy=POLICY, session="s1", commit="c1", **options
    )


def test_claims_alone_make_floors_and_ceilings():
    """A field report is a baseline before anything was measured."""
    (cell,) = recorded([CLAIMED, a_point("fp8-unclaimed")]).cells.values()

    assert (cell.floor_tok_s, cell.ceiling_p95_s) == (3000, 7.0)
    assert (cell.source, cell.samples, cell.identity) == ("field report", (), {})


def test_a_measured_point_keeps_its_claim_and_its_run():
    """The claim sets the limits; the run is stored with its provenance and its conditions."""
    cell = recorded([CLAIMED], [a_measurement(CLAIMED)]).cells[CLAIMED.id]

    assert (cell.floor_tok_s, cell.ceiling_p95_s) == (3000, 7.0)
    (sample,) = cell.samples
    assert (sample.session, sample.commit, sample.throughput_tok_s) == ("s1", "c1", 3030)
    assert cell.identity == IDENTITY


def test_a_claim_of_other_hardware_sets_no_limit():
    """A GB10's floor says nothing of an H100, even where the same point was measured there."""
    cell = recorded([CLAIMED], [a_measurement(CLAIMED)]).cells[CLAIMED.id]
    h100 = empty("h100-sim", "llm-7b", Precision.FP8)
    run = a_measurement(CLAIMED, fingerprint=a_fingerprint("h100-sim"), p95_s=1.0)

    assert cell.floor_tok_s == 3000
    assert recorded([CLAIMED], baseline=h100).cells == {}
    assert recorded([CLAIMED], [run], baseline=h100).cells[CLAIMED.id].floor_tok_s is None


def test_without_a_claim_the_runs_make_a_ceiling_and_no_floor():
    """The slowest recorded P95 and the margin, rounded up to two digits."""
    point = a_point()
    cell = recorded([point], [a_measurement(point, p95_s=6.61)]).cells[point.id]

    assert cell.floor_tok_s is None
    assert cell.ceiling_p95_s == 7.0  # 6.61 * 1.05 = 6.94
    assert "slowest recorded P95" in cell.source


def test_runs_add_up_over_sessions():
    """A later run joins the earlier ones; the ceiling covers the slowest."""
    first = recorded([], [a_measurement(p95_s=6.0)])
    later = a_measurement(p95_s=6.8, started_at="2026-02-01T00:00:00+00:00")
    cell = recorded([], [later], first).cells["fp8-b192-c160"]

    assert [sample.latency_p95_s for sample in cell.samples] == [6.0, 6.8]
    assert cell.ceiling_p95_s == 7.2


def test_recording_the_same_run_twice_changes_nothing():
    """A repeated command does not weigh a run double."""
    once = recorded([CLAIMED], [a_measurement(CLAIMED)])

    assert recorded([CLAIMED], [a_measurement(CLAIMED)], once) == once


def test_starting_over_forgets_earlier_runs_of_the_measured_points_only():
    """`replace_samples` touches what was measured anew, nothing else."""
    other = a_point("fp8-b192-c96", concurrency=96, claim=a_claim())
    before = recorded([other], [a_measurement(), a_measurement(other)])
    moved = a_measurement(fingerprint=a_fingerprint(identity={"driver": "2"}))

    after = recorded([other], [moved], before, replace_samples=True)

    assert len(after.cells["fp8-b192-c160"].samples) == 1
    assert after.cells["fp8-b192-c160"].identity == {"driver": "2"}
    assert after.cells["fp8-b192-c96"] == before.cells["fp8-b192-c96"]


def test_other_engines_and_ungated_points_are_left_out():
    """An FP8 baseline knows no FP16 point, and none that only serves a comparison."""
    fp16 = a_point("fp16-b16-c16", precision=Precision.FP16, claim=a_claim())
    probe = a_point("fp8-probe", claim=a_claim(), gated=False)

    assert recorded([fp16, probe], [a_measurement(probe), a_measurement(fp16)]).cells == {}


@pytest.mark.parametrize(
    ("measurement", "reason"),
    [
        (a_measurement(vetoes=(Veto(rule="errors", message="3 requests failed"),)), "3 requests"),
        (a_measurement(p95_s=None, requests=12), "12 requests hold no P95"),
        (a_measurement(fingerprint=a_fingerprint("gb10")), "measured on real gb10"),
        (
            a_measurement(fingerprint=replace(a_fingerprint(), hardware="gb10")),
            "measured on simulated gb10",
        ),
    ],
    ids=["vetoed", "too-short", "hardware-into-sim", "mislabelled"],
)
def test_what_cannot_be_a_baseline_is_refused(measurement, reason):
    """The error says which run and why; nothing is recorded."""
    with pytest.raises(BaselineError, match=reason):
        recorded([], [measurement])


def test_a_simulated_run_never_enters_a_hardware_baseline():
    """Not even if its hardware bears the same name."""
    run = a_measurement(fingerprint=replace(a_fingerprint(), hardware="gb10"))

    with pytest.raises(BaselineError, match="simulated gb10, the baseline is for gb10"):
        recorded([], [run], empty("gb10", "llm-7b", Precision.FP8))


def test_runs_under_other_conditions_do_not_mix():
    """The differing conditions are named, and how to start over."""
    before = recorded([], [a_measurement()])
    moved = a_measurement(fingerprint=a_fingerprint(identity=IDENTITY | {"driver": "2"}))

    with pytest.raises(BaselineError, match=r"driver is .* instead of .*--replace"):
        recorded([], [moved], before)


@given(st.floats(1, 1e5), st.floats(0.001, 1e3))
def test_a_recorded_run_passes_against_itself(throughput, p95):
    """Whatever was recorded is neither slower nor faster than its own baseline."""
    run = a_measurement(throughput_tok_s=throughput, p50_s=p95 / 1.05, p95_s=p95)
    cell = recorded([], [run]).cells[run.point.id]

    assert judge(run, cell, POLICY).verdict is Verdict.PASS
