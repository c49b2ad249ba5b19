"""Records first, conclusions after: the one way from a load to its measurement."""

from __future__ import annotations

from pathlib import Path

from perfgate.measure.measure import measure
from perfgate.model import LoadRun, Measurement, Policy
from perfgate.records import write_run


def measure_recorded(run: LoadRun, policy: Policy, records: Path) -> Measurement:
    """Store a load's records in the folder `records`, then measure it.

    Whatever measuring raises, NoSamplesError above all, the records are on disk by then.
    """
    path = write_run(records, run)
    return measure(run, policy, records=str(path))
