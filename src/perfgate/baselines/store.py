"""Baseline files: `<root>/<hardware>/<model>-<precision>.json`, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from perfgate import codec
from perfgate.baselines.record import SCHEMA_VERSION, empty, record, require_same_hardware
from perfgate.errors import BaselineError, RecordsError
from perfgate.model import Baseline, Cell, Measurement, OperatingPoint, Policy, Precision


def path_of(root: Path, hardware: str, model: str, precision: Precision) -> Path:
    """Where the baseline of one model at one precision on one kind of hardware lies."""
    return root / hardware / f"{model}-{precision}.json"


def load(path: Path) -> Baseline:
    """Read one baseline file.

    Raises BaselineError if it is missing, damaged, of another schema version, or was moved here
    from another place: its name must say what it holds.
    """
    data = _read(path)
    _require_known_version(data, path)
    try:
        baseline = codec.from_json(data, Baseline, origin=str(path))
    except RecordsError as error:
        msg = f"{error} Restore it from version control."
        raise BaselineError(msg) from error
    expected = path_of(path.parent.parent, baseline.hardware, baseline.model, baseline.precision)
    if expected != path:
        msg = (
            f"{path} holds the baseline of {baseline.model} {baseline.precision} on "
            f"{baseline.hardware}. Baselines are recorded, never copied: move it back to "
            f"{expected}, or run: perfgate baseline record"
        )
        raise BaselineError(msg)
    return baseline


def save(root: Path, baseline: Baseline) -> Path:
    """Write one baseline where its name belongs, in a form that reads well in review."""
    path = path_of(root, baseline.hardware, baseline.model, baseline.precision)
    table = json.loads(codec.to_json(baseline))
    codec.write_atomic(path, f"{_pretty(table)}\n".encode())
    return path


def find(root: Path, hardware: str, model: str, precision: Precision) -> Baseline | None:
    """The stored baseline, or None where none was ever recorded."""
    path = path_of(root, hardware, model, precision)
    return load(path) if path.exists() else None


def find_cell(root: Path, measurement: Measurement) -> Cell | None:
    """What the stored baseline expects of the measured point, or None where it knows nothing.

    Raises BaselineError rather than hold simulated numbers against those of hardware.
    """
    engine, hardware = measurement.point.engine, measurement.fingerprint.hardware
    require_same_hardware(hardware, measurement)
    baseline = find(root, hardware, engine.model, engine.precision)
    return baseline.cells.get(measurement.point.id) if baseline else None


def record_into(
    root: Path,
    hardware: str,
    points: Sequence[OperatingPoint],
    measurements: Sequence[Measurement] = (),
    *,
    policy: Policy,
    session: str,
    commit: str,
    replace_samples: bool = False,
) -> list[Path]:
    """Record claims and runs in every baseline file they concern, or in none if one is refused."""
    recorded = [
        record(
            find(root, hardware, model, precision) or empty(hardware, model, precision),
            points,
            measurements,
            policy=policy,
            session=session,
            commit=commit,
            replace_samples=replace_samples,
        )
        for model, precision in _engines([*points, *(run.point for run in measurements)])
    ]
    return [save(root, baseline) for baseline in recorded if baseline.cells]


def _engines(points: Iterable[OperatingPoint]) -> list[tuple[str, Precision]]:
    return list(dict.fromkeys((p.engine.model, p.engine.precision) for p in points))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} does not exist. Make it from a sound run: perfgate baseline record"
        raise BaselineError(msg) from error


def _require_known_version(data: bytes, path: Path) -> None:
    try:
        table = json.loads(data)
    except ValueError as error:
        msg = f"{path} is no JSON ({error}). Restore it from version control."
        raise BaselineError(msg) from error
    version = table.get("schema_version") if isinstance(table, dict) else None
    if version == SCHEMA_VERSION:
        return
    newer = isinstance(version, int) and version > SCHEMA_VERSION
    cure = "Update perfgate" if newer else "Record it again: perfgate baseline record"
    msg = f"{path} has schema version {version!r}, this perfgate reads {SCHEMA_VERSION}. {cure}."
    raise BaselineError(msg)


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with sorted keys, each sample of a list on one line of its own."""
    deeper = f"{indent}  "
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(key)}: {_pretty(value[key], deeper)}" for key in sorted(value)]
        return _block("{", rows, "}", indent)
    if isinstance(value, list) and value:
        rows = [json.dumps(row, sort_keys=True) for row in value]
        return _block("[", rows, "]", indent)
    return json.dumps(value)


def _block(opening: str, rows: list[str], closing: str, indent: str) -> str:
    body = ",\n".join(f"{indent}  {row}" for row in rows)
    return f"{opening}\n{body}\n{indent}{closing}"
