"""Stored runs, judged again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfgate import artifacts, baselines
from perfgate.artifacts import MeasurementsFile
from perfgate.errors import BaselineError, NoSamplesError, RecordsError
from perfgate.gate import exit_code, judge, judge_comparison, unmeasured
from perfgate.measure.measure import measure
from perfgate.model import Comparison, ComparisonKind, Policy, Precision, Sampling, Verdict
from perfgate.records import write_run
from perfgate.rejudge import rejudge
from tests.unit.factories import a_fingerprint, a_point, a_run_info, a_steady_run

pytestmark = pytest.mark.unit

POLICY = Policy()
SAMPLING = Sampling(rounds=4, round_requests=16)
FP8 = a_point("fp8-b16-c16", max_batch_size=16, concurrency=16, sampling=SAMPLING)
FP16 = replace(FP8, id="fp16-b16-c16", engine=replace(FP8.engine, precision=Precision.FP16))
ASKED = Comparison(id="fp8-over-fp16", kind=ComparisonKind.SPEEDUP, point=FP8.id, against=FP16.id)


@pytest.fixture
def stored(tmp_path):
    """A whole run on disk: two points, one question, one point that could not be measured."""
    runs = [a_steady_run(FP16, gap_ms=53), a_steady_run(FP8, gap_ms=32)]
    records = tmp_path / "artifacts" / artifacts.RECORDS
    measurements = [measure(run, POLICY, records=str(write_run(records, run))) for run in runs]
    artifacts.save_measurements(
        tmp_path / "artifacts",
        MeasurementsFile(
            run=a_run_info(),
            measurements=tuple(measurements),
            comparisons=(ASKED,),
            unmeasured={"fp8-b64-c64": "Triton died"},
        ),
    )
    baselines.record_into(
        tmp_path / "baselines",
        "gb10-sim",
        [FP8, FP16],
        measurements,
        policy=POLICY,
        session="s1",
        commit="c1",
    )
    return tmp_path


def again(stored, policy=POLICY):
    """Judge the stored run again."""
    return rejudge(stored / "artifacts", stored / "baselines", policy).every_judgement


def test_stored_records_give_the_judgements_of_the_live_run(stored):
    """Points, comparisons and unmeasured points, message by message."""
    measurements = artifacts.load_measurements(stored / "artifacts").measurements
    root = stored / "baselines"
    cells = baselines.cells(root, "gb10-sim", [one.point for one in measurements])
    live = [
        *(judge(one, cells[one.point.id], POLICY) for one in measurements),
        judge_comparison(ASKED, {one.point.id: one for one in measurements}, POLICY),
        unmeasured("fp8-b64-c64", "Triton died"),
    ]

    judgements = again(stored)

    by_point = {judgement.point: judgement for judgement in judgements}
    assert by_point == {judgement.point: judgement for judgement in live}
    assert [by_point[p].verdict for p in (FP8.id, FP16.id, ASKED.id)] == [Verdict.PASS] * 3
    assert exit_code(judgements) == 4


def test_a_changed_policy_changes_the_verdicts(stored):
    """Old records can be held to new rules."""
    verdicts = {one.point: one.verdict for one in again(stored, Policy(fp8_speedup=1.8))}

    assert verdicts[ASKED.id] is Verdict.REGRESSION


def test_records_that_hold_no_round_are_refused(stored):
    """Records that were exchanged for a broken run's make an error, not a verdict."""
    dead = a_steady_run(FP8, gap_ms=32)
    dead = replace(dead, marks_ns=dead.marks_ns[:1], faults=("Triton died",))
    write_run(stored / "artifacts" / artifacts.RECORDS, dead)

    with pytest.raises(NoSamplesError, match="Triton died"):
        again(stored)


def test_a_point_that_only_serves_a_comparison_is_not_judged(stored):
    """An ungated point needs no baseline cell."""
    content = artifacts.load_measurements(stored / "artifacts")
    point = replace(FP16, gated=False)
    write_run(stored / "artifacts" / artifacts.RECORDS, a_steady_run(point, gap_ms=53))
    artifacts.save_measurements(stored / "artifacts", content)

    assert {one.point for one in again(stored)} == {FP8.id, ASKED.id, "fp8-b64-c64"}


def test_another_run_s_records_are_left_alone(stored):
    """What lies in the folder from an earlier run is not judged as part of this one."""
    other = replace(FP8, id="fp8-b64-c64")
    write_run(stored / "artifacts" / artifacts.RECORDS, a_steady_run(other))

    verdicts = {one.point: one.verdict for one in again(stored)}

    assert verdicts["fp8-b64-c64"] is Verdict.INVALID


def test_missing_records_are_refused(stored):
    """A point whose records were lost does not silently vanish from the verdicts."""
    (stored / "artifacts" / artifacts.RECORDS / "fp8-b16-c16.jsonl.gz").unlink()

    with pytest.raises(RecordsError, match=r"fp8-b16-c16\.jsonl\.gz"):
        again(stored)


def test_mislabelled_simulation_is_refused(stored):
    """Simulated records that bear hardware's name are held against no baseline."""
    run = a_steady_run(FP8, gap_ms=32)
    fake = replace(run, fingerprint=replace(a_fingerprint(), hardware="gb10"))
    write_run(stored / "artifacts" / artifacts.RECORDS, fake)

    with pytest.raises(BaselineError, match="simulated gb10"):
        again(stored)
