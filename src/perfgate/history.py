"""One line a merge: `baselines/<hardware>/history.jsonl`, appended by perfgate history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perfgate import codec
from perfgate.artifacts import load_measurements
from perfgate.errors import BaselineError
from perfgate.gate.drift import ANCHOR, Drift, drift
from perfgate.gate.losses import log_cost
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.wording import percent
from perfgate.model import Measurement

FILE = "history.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One merge: when and at which commit it was measured, and its values by `point:metric`."""

    commit: str
    measured_at: str
    values: dict[str, float]


def merge_of(artifacts: Path) -> tuple[str, Merge]:
    """The hardware and the merge that a finished run measured; vetoed measurements are left out.

    Raises BaselineError for a run without a sound measurement, or of uncommitted files.
    """
    stored = load_measurements(artifacts)
    if not stored.run.commit or stored.run.commit.endswith("-dirty"):
        msg = f"{artifacts} was measured at {stored.run.commit or 'no commit'}: merge first"
        raise BaselineError(msg)
    values = {
        f"{one.point.id}:{name}": value
        for one in stored.measurements
        if not one.vetoes and one.point.gated
        for name, value in _values(one)
    }
    if not values:
        msg = f"{artifacts} holds no sound measurement to remember"
        raise BaselineError(msg)
    merge = Merge(commit=stored.run.commit, measured_at=stored.run.started_at, values=values)
    return stored.run.hardware, merge


def load(path: Path) -> tuple[Merge, ...]:
    """Read a history; none is an empty one."""
    if not path.exists():
        return ()
    lines = path.read_bytes().splitlines()
    return tuple(
        codec.from_json(line, Merge, origin=f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def remember(path: Path, merge: Merge) -> tuple[Merge, ...]:
    """Append a merge; one that is there already is not added again."""
    known = load(path)
    if any((one.commit, one.measured_at) == (merge.commit, merge.measured_at) for one in known):
        return known
    merges = (*known, merge)
    codec.write_atomic(path, b"".join(codec.to_json(one) + b"\n" for one in merges))
    return merges


def of_cell(merges: Sequence[Merge], cell: str) -> tuple[tuple[Merge, ...], tuple[float, ...]]:
    """The merges that measured a cell, and their log costs."""
    metric = BY_NAME[cell.rpartition(":")[2]]
    found = tuple(merge for merge in merges if cell in merge.values)
    return found, tuple(log_cost(metric, merge.values[cell]) for merge in found)


def cells(merges: Sequence[Merge]) -> tuple[str, ...]:
    """Every cell that any merge measured."""
    return tuple(sorted({cell for merge in merges for cell in merge.values}))


def table(merges: Sequence[Merge]) -> str:
    """One line a cell: how many merges, and whether it drifts."""
    return "\n".join(_row(merges, cell) for cell in cells(merges))


def _row(merges: Sequence[Merge], cell: str) -> str:
    found, costs = of_cell(merges, cell)
    seen = drift(costs)
    if seen is None:
        return f"{cell}: {len(found)} merges; drift is looked for after {ANCHOR}"
    return f"{cell}: {len(found)} merges, {_told(found, seen)}"


def _told(merges: Sequence[Merge], seen: Drift) -> str:
    if seen.alarm is None or seen.onset is None:
        return f"no drift (CUSUM {seen.scores[-1]:.1f} of 6)"
    return (
        f"drifts since about {merges[seen.onset].commit}: {percent(seen.loss)} "
        f"{'slower' if seen.loss > 0 else 'faster'} than its anchor, alarm at "
        f"{merges[seen.alarm].commit}. No single merge is to blame; open an issue."
    )


def _values(one: Measurement) -> list[tuple[str, float]]:
    read = ((name, metric.read(one)) for name, metric in BY_NAME.items())
    return [(name, float(f"{value:.6g}")) for name, value in read if value is not None]
