"""Judge a stored run again: records in, the same verdicts out, no server needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perfgate.artifacts import RECORDS, load_measurements
from perfgate.baselines import find_cell
from perfgate.gate import judge, judge_comparison, unmeasured
from perfgate.measure.measure import measure
from perfgate.model import LoadRun, Measurement, Policy
from perfgate.records import SUFFIX, read_run
from perfgate.report.content import EarlierRun
from perfgate.results import Results


def rejudge(artifacts: Path, baselines: Path, policy: Policy) -> Results:
    """Measure the stored records anew and judge them against `baselines`.

    Raises RecordsError if the artifacts are not whole, BaselineError if a baseline cannot be used.
    """
    stored = load_measurements(artifacts)
    measurements = remeasure(artifacts, policy)
    by_point = {measurement.point.id: measurement for measurement in measurements}
    return Results(
        info=stored.run,
        policy=policy,
        measurements=measurements,
        judgements=(
            *(
                judge(measurement, find_cell(baselines, measurement), policy)
                for measurement in measurements
                if measurement.point.gated
            ),
            *(unmeasured(point, reason) for point, reason in stored.unmeasured.items()),
        ),
        comparisons=stored.comparisons,
        compared=tuple(judge_comparison(one, by_point, policy) for one in stored.comparisons),
        unmeasured=stored.unmeasured,
    )


def remeasure(artifacts: Path, policy: Policy) -> tuple[Measurement, ...]:
    """Measure the stored records anew, in the order in which they were taken.

    Records that another run left in the same folder are none of this run's. Raises RecordsError if
    a record is missing or not whole.
    """
    return tuple(
        measure(read_run(path), policy, records=str(path)) for path in _record_paths(artifacts)
    )


def earlier_run(artifacts: Path, policy: Policy) -> EarlierRun:
    """A stored run as others are compared with it, measured anew, named by its folder."""
    return EarlierRun(
        name=artifacts.name or str(artifacts),
        info=load_measurements(artifacts).run,
        measurements=remeasure(artifacts, policy),
    )


def stored_runs(artifacts: Path) -> Iterator[LoadRun]:
    """Each point's records, one at a time, in the order in which they were taken."""
    return map(read_run, _record_paths(artifacts))


def _record_paths(artifacts: Path) -> list[Path]:
    return [
        artifacts / RECORDS / f"{measurement.point.id}{SUFFIX}"
        for measurement in load_measurements(artifacts).measurements
    ]
