"""Baseline files: `<root>/<hardware>/<model>-<precision>.json`, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perfgate import codec
from perfgate.baselines.record import SCHEMA_VERSION, empty, record, require_same_hardware
from perfgate.errors import BaselineError, RecordsError
from perfgate.model import Baseline, Cell, Measurement, OperatingPoint, Policy, Precision

# What samples have gained since version 1. Older files hold none of it, and their digests stand.
_LATER = ("prefill_s", "decode_step_s")


def path_of(root: Path, hardware: str, model: str, precision: Precision) -> Path:
    """Where the baseline of one model at one precision on one kind of hardware lies."""
    return root / hardware / f"{model}-{precision}.json"


def load(path: Path) -> Baseline:
    """Read one baseline file.

    Raises BaselineError if it is missing, damaged, of another schema version, or was moved here
    from another place: its name must say what it holds.
    """
    baseline = _read(path)
    home = path_of(path.parent.parent, baseline.hardware, baseline.model, baseline.precision)
    if home != path:
        msg = (
            f"{path} holds the baseline of {baseline.model} {baseline.precision} on "
            f"{baseline.hardware}. Baselines are recorded, never copied: move it back to {home}, "
            "or run: perfgate baseline record"
        )
        raise BaselineError(msg)
    return baseline


def files(root: Path, hardware: str = "*") -> list[Path]:
    """The baseline files of `hardware`, or of all of it; a calibration beside them is none."""
    return sorted(path for path in root.glob(f"{hardware}/*-*.json"))


def save(root: Path, baseline: Baseline) -> Path:
    """Write one baseline where its name belongs, in a form that reads well in review.

    It is chained to the file it replaces; one that says the same is left alone.
    """
    path = path_of(root, baseline.hardware, baseline.model, baseline.precision)
    before = load(path) if path.exists() else None
    if before is not None:
        same = digest_of(replace(baseline, previous=before.previous))
        if before.digest == digest_of(before) == same:
            return path
        baseline = replace(baseline, previous=before.digest)
    baseline = replace(baseline, digest=digest_of(baseline))
    codec.write_atomic(path, f"{_pretty(_table(baseline))}\n".encode())
    return path


def digest_of(baseline: Baseline) -> str:
    """The SHA-256 of everything in a baseline but its digest."""
    return hashlib.sha256(codec.to_json(_table(replace(baseline, digest="")))).hexdigest()


def find(root: Path, hardware: str, model: str, precision: Precision) -> Baseline | None:
    """The stored baseline, or None where none was ever recorded."""
    path = path_of(root, hardware, model, precision)
    return load(path) if path.exists() else None


def cells(root: Path, hardware: str, points: Iterable[OperatingPoint]) -> dict[str, Cell]:
    """What the stored baselines of `hardware` expect, by point; unknown points are left out."""
    points = tuple(points)
    known = {
        (model, precision): baseline.cells
        for model, precision in _engines(points)
        if (baseline := find(root, hardware, model, precision)) is not None
    }
    return {
        point.id: cell
        for point in points
        if (cell := known.get(_engine(point), {}).get(point.id)) is not None
    }


def find_cell(root: Path, measurement: Measurement) -> Cell | None:
    """What the stored baseline expects of the measured point, or None where it knows nothing.

    Raises BaselineError rather than hold simulated numbers against those of hardware.
    """
    hardware, point = measurement.fingerprint.hardware, measurement.point
    require_same_hardware(hardware, measurement)
    return cells(root, hardware, [point]).get(point.id)


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


def _table(baseline: Baseline) -> dict[str, Any]:
    """A baseline as it is stored and digested: of `_LATER` a sample holds only what it knows."""
    table: dict[str, Any] = json.loads(codec.to_json(baseline))
    for cell in table["cells"].values():
        cell["samples"] = [
            {
                name: value
                for name, value in sample.items()
                if value is not None or name not in _LATER
            }
            for sample in cell["samples"]
        ]
    return table


def _engines(points: Iterable[OperatingPoint]) -> list[tuple[str, Precision]]:
    return list(dict.fromkeys(_engine(point) for point in points))


def _engine(point: OperatingPoint) -> tuple[str, Precision]:
    return point.engine.model, point.engine.precision


def _read(path: Path) -> Baseline:
    try:
        return codec.from_versioned_json(
            path.read_bytes(),
            Baseline,
            version=SCHEMA_VERSION,
            origin=str(path),
            if_older="Record it again: perfgate baseline record",
        )
    except FileNotFoundError as error:
        msg = f"{path} does not exist. Make it from a sound run: perfgate baseline record"
        raise BaselineError(msg) from error
    except RecordsError as error:
        msg = f"{error} The last sound state is in version control."
        raise BaselineError(msg) from error


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
