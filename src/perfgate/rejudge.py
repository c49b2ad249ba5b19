"""Judge a stored run again: records in, the same verdicts out, no server needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfgate.artifacts import RECORDS, MeasurementsFile, load_measurements
from perfgate.baselines import find_cell
from perfgate.errors import NoSamplesError, RecordsError
from perfgate.gate import judge_run, unmeasured
from perfgate.measure.measure import measure
from perfgate.model import Judgement, LoadRun, Measurement, Policy
from perfgate.records import SUFFIX, read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """What stored records amount to: measurements, and the reason where there is none."""

    measurements: tuple[Measurement, ...]
    unmeasured: dict[str, str]


def rejudge(artifacts: Path, baselines: Path, policy: Policy) -> list[Judgement]:
    """Measure the stored records anew and judge them against `baselines`.

    Raises RecordsError if the artifacts are not whole, BaselineError if a baseline cannot be used.
    """
    stored = load_measurements(artifacts)
    again = remeasure(artifacts, policy)
    _require_whole(stored, again, artifacts)
    cells = {
        measurement.point.id: cell
        for measurement in again.measurements
        if (cell := find_cell(baselines, measurement)) is not None
    }
    reasons = stored.unmeasured | again.unmeasured
    return [
        *judge_run(again.measurements, cells, stored.comparisons, policy),
        *(unmeasured(point, reason) for point, reason in reasons.items()),
    ]


def remeasure(artifacts: Path, policy: Policy) -> Remeasured:
    """Measure all stored records, in the order in which they were taken."""
    runs = [(path, read_run(path)) for path in sorted((artifacts / RECORDS).glob(f"*{SUFFIX}"))]
    runs.sort(key=lambda stored: stored[1].started_at)
    outcomes = [(run.point.id, _measured(run, policy, path)) for path, run in runs]
    return Remeasured(
        measurements=tuple(found for _, found in outcomes if isinstance(found, Measurement)),
        unmeasured={point: found for point, found in outcomes if isinstance(found, str)},
    )


def _measured(run: LoadRun, policy: Policy, path: Path) -> Measurement | str:
    try:
        return measure(run, policy, records=str(path))
    except NoSamplesError as error:  # as in the live run: no measurement, and the reason for it
        return str(error)


def _require_whole(stored: MeasurementsFile, again: Remeasured, artifacts: Path) -> None:
    found = {measurement.point.id for measurement in again.measurements} | again.unmeasured.keys()
    gone = [one.point.id for one in stored.measurements if one.point.id not in found]
    if gone:
        msg = (
            f"{artifacts / RECORDS} lacks the records of {', '.join(gone)}. Copy the whole "
            "artifacts folder, or measure again."
        )
        raise RecordsError(msg)
