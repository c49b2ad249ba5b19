"""How limits change: up by what sessions confirm, down by name, reason and expiry. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from perfgate.errors import BaselineError, UsageError
from perfgate.gate.screen import upper_run_bound
from perfgate.model import Baseline, Cell, Lowering, Ratchet, RunSample

CONFIRMING_SESSIONS = 3
CONFIRMING_DAYS = 2
MOST_LOWERED = 0.03
"""The share of a floor that may be given away in all before somebody signs for it."""


def accept(
    baseline: Baseline, cell: str, sessions: Sequence[str], *, now: str, commit: str
) -> Baseline:
    """Raise a cell's floor to the level that `sessions` confirm.

    The new floor is the lower 99 % prediction bound of one run at the new level, not its mean: a
    floor at the mean would fail every second honest run. Raises BaselineError for fewer than three
    sessions or two days, and where the bound does not exceed the present floor.
    """
    known = _cell(baseline, cell)
    floor = confirmed_floor(known, cell, sessions)
    if known.floor_tok_s is not None and floor <= known.floor_tok_s:
        msg = (
            f"{cell}: these sessions confirm {floor:g} tok/s, the floor is {known.floor_tok_s:g} "
            "already. A floor is only raised here; to lower one: perfgate baseline lower"
        )
        raise BaselineError(msg)
    entry = Ratchet(
        cell=cell, floor_tok_s=floor, sessions=tuple(sessions), accepted_at=now, commit=commit
    )
    return replace(
        baseline,
        cells=baseline.cells | {cell: replace(known, floor_tok_s=floor)},
        ratchets=(*baseline.ratchets, entry),
    )


def confirmed_floor(cell: Cell, name: str, sessions: Sequence[str]) -> float:
    """The floor that the recorded runs of `sessions` confirm, rounded down to 0.1 tok/s."""
    chosen = {one.session: one for one in cell.samples if one.session in sessions}
    _require_confirmed(name, list(chosen.values()))
    costs = [-math.log(one.throughput_tok_s) for one in chosen.values()]
    return math.floor(math.exp(-float(upper_run_bound(costs))) * 10) / 10


def lower(baseline: Baseline, entry: Lowering, *, today: date) -> Baseline:
    """Lower a cell's floor, with an entry in the ledger.

    Raises UsageError for an expiry that has passed, and for more than 3 % given away in all unless
    somebody signs for it.
    """
    known = _cell(baseline, entry.cell)
    if date.fromisoformat(entry.expires) <= today:
        raise UsageError("--expires", entry.expires, f"it must lie after today ({today})")
    given = given_away(baseline, entry.cell) + (1 - entry.floor_tok_s / entry.before_tok_s)
    if given > MOST_LOWERED and not entry.signed_by:
        rule = (
            f"with the ledger's entries {given:.1%} of this floor would be given away, over "
            f"{MOST_LOWERED:.0%}: a performance owner must sign with --signed-by"
        )
        raise UsageError("--floor", entry.floor_tok_s, rule)
    return replace(
        baseline,
        cells=baseline.cells | {entry.cell: replace(known, floor_tok_s=entry.floor_tok_s)},
        ledger=(*baseline.ledger, entry),
    )


def given_away(baseline: Baseline, cell: str) -> float:
    """The share of a cell's floor that the ledger has given away so far."""
    return sum(1 - e.floor_tok_s / e.before_tok_s for e in baseline.ledger if e.cell == cell)


def expired(baseline: Baseline, today: date) -> tuple[Lowering, ...]:
    """The last lowering of each cell where it is past its day and no ratchet has replaced it."""
    last = {entry.cell: entry for entry in baseline.ledger}
    raised = {entry.cell: entry.accepted_at for entry in baseline.ratchets}
    return tuple(
        entry
        for cell, entry in last.items()
        if date.fromisoformat(entry.expires) < today and raised.get(cell, "") < entry.lowered_at
    )


def _cell(baseline: Baseline, cell: str) -> Cell:
    if cell not in baseline.cells:
        raise UsageError("--cell", cell, f"it must be one of {', '.join(sorted(baseline.cells))}")
    return baseline.cells[cell]


def _require_confirmed(name: str, runs: Sequence[RunSample]) -> None:
    days = {datetime.fromisoformat(run.measured_at).date() for run in runs}
    if len(runs) < CONFIRMING_SESSIONS or len(days) < CONFIRMING_DAYS:
        msg = (
            f"{name}: {len(runs)} faster sessions on {len(days)} days; an improvement is confirmed "
            f"after {CONFIRMING_SESSIONS} sessions on {CONFIRMING_DAYS} days. Record more runs."
        )
        raise BaselineError(msg)
