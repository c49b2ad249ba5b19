"""Judge a stored run again: records in, the same verdicts out, no server needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perfgate.artifacts import RECORDS, MeasurementsFile, load_measurements
from perfgate.baselines import find_cell
from perfgate.errors import RecordsError
from perfgate.gate import judge_run, unmeasured
from perfgate.measure.measure import measure
from perfgate.model import Judgement, Measurement, Policy
from perfgate.records import read_run


def rejudge(artifacts: Path, baselines: Path, policy: Policy) -> list[Judgement]:
    """Measure the stored records anew and judge them against `baselines`.

    Raises RecordsError if the artifacts are not whole, BaselineError if a baseline cannot be used.
    """
    stored = load_measurements(artifacts)
    measurements = remeasure(artifacts, policy)
    _require_whole(stored, measurements, artifacts)
    cells = {
        measurement.point.id: cell
        for measurement in measurements
        if (cell := find_cell(baselines, measurement)) is not None
    }
    return [
        *judge_run(measurements, cells, stored.comparisons, policy),
        *(unmeasured(point, reason) for point, reason in stored.unmeasured.items()),
    ]


def remeasure(artifacts: Path, policy: Policy) -> list[Measurement]:
    """The measurements of all stored records, in the order in which they were taken."""
    paths = sorted((artifacts / RECORDS).glob("*.jsonl.gz"))
    measurements = [measure(read_run(path), policy, records=str(path)) for path in paths]
    return sorted(measurements, key=lambda measurement: measurement.started_at)


def _require_whole(
    stored: MeasurementsFile, measurements: Sequence[Measurement], artifacts: Path
) -> None:
    found = {measurement.point.id for measurement in measurements}
    gone = [one.point.id for one in stored.measurements if one.point.id not in found]
    if gone:
        msg = (
            f"{artifacts / RECORDS} lacks the records of {', '.join(gone)}. Copy the whole "
            "artifacts folder, or measure again."
        )
        raise RecordsError(msg)
