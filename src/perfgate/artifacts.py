"""What a run leaves under `--artifacts`: names, versioned files, and their JSON schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perfgate import codec
from perfgate.errors import RecordsError
from perfgate.explore.findings import Exploration
from perfgate.model import Baseline, Comparison, Judgement, Measurement, Policy, RunInfo
from perfgate.sweep.content import SCHEMA_VERSION as SWEEP_VERSION
from perfgate.sweep.content import SweepFile

T = TypeVar("T")

RECORDS = "records"
MEASUREMENTS = "measurements.json"
VERDICTS = "verdicts.json"
REPORT_HTML = "report.html"
REPORT_MD = "report.md"
JUNIT = "junit.xml"
CURVE = "curve.svg"
SWEEP = "sweep.json"
SWEEP_HTML = "sweep.html"
OPENMETRICS = "perfgate.prom"  # the ending that node_exporter's textfile collector asks for

# History: 1 - run, comparisons, unmeasured, measurements; run, policy, judgements; 2 - a point's
# claim names its hardware.
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementsFile:
    """measurements.json: what was measured, before any judgement.

    `comparisons` are the questions this run was asked, `unmeasured` the points it could not
    measure, each with the reason.
    """

    schema_version: int = SCHEMA_VERSION
    run: RunInfo
    measurements: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...] = ()
    unmeasured: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictsFile:
    """verdicts.json: what the gate said, and the rules by which it did."""

    schema_version: int = SCHEMA_VERSION
    run: RunInfo
    policy: Policy
    judgements: tuple[Judgement, ...]


def save_measurements(artifacts: Path, content: MeasurementsFile) -> Path:
    """Write measurements.json."""
    return _save(artifacts / MEASUREMENTS, content)


def load_measurements(artifacts: Path) -> MeasurementsFile:
    """Read measurements.json; RecordsError says what to do if that is not possible."""
    return _load(artifacts / MEASUREMENTS, MeasurementsFile)


def save_verdicts(artifacts: Path, content: VerdictsFile) -> Path:
    """Write verdicts.json."""
    return _save(artifacts / VERDICTS, content)


def load_verdicts(artifacts: Path) -> VerdictsFile:
    """Read verdicts.json; RecordsError says what to do if that is not possible."""
    return _load(artifacts / VERDICTS, VerdictsFile)


def save_sweep(folder: Path, content: SweepFile) -> Path:
    """Write sweep.json."""
    return _save(folder / SWEEP, content)


def load_sweep(folder: Path) -> SweepFile | None:
    """Read sweep.json; None where there is none yet, RecordsError if it cannot be read."""
    if not (folder / SWEEP).exists():
        return None
    return _load(folder / SWEEP, SweepFile, SWEEP_VERSION)


def schemas() -> dict[str, bytes]:
    """The JSON schema of every stored format, by file name."""
    return {
        "measurements.schema.json": _schema(MeasurementsFile),
        "verdicts.schema.json": _schema(VerdictsFile),
        "baseline.schema.json": _schema(Baseline),
        "sweep.schema.json": _schema(SweepFile),
        "explore.schema.json": _schema(Exploration),
    }


def write_schemas(folder: Path) -> None:
    """Write the schemas where the documentation keeps them (`docs/schema`)."""
    for name, text in schemas().items():
        codec.write_atomic(folder / name, text)


def _save(path: Path, content: object) -> Path:
    codec.write_atomic(path, codec.to_pretty_json(content))
    return path


def _load(path: Path, kind: type[T], version: int = SCHEMA_VERSION) -> T:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} does not exist. Name the folder given as --artifacts to a finished run."
        raise RecordsError(msg) from error
    return codec.from_versioned_json(
        data,
        kind,
        version=version,
        origin=str(path),
        if_older="Read it with the perfgate that wrote it",
    )


def _schema(kind: type) -> bytes:
    schema: dict[str, Any] = msgspec.json.schema(kind)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return codec.to_pretty_json(schema)
