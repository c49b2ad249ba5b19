"""Whether a baseline is what perfgate wrote: its limits follow from its runs and entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from perfgate.baselines.ledger import confirmed_floor, expired
from perfgate.baselines.record import derived_cell
from perfgate.baselines.store import digest_of
from perfgate.errors import BaselineError
from perfgate.gate.screen import LEAST_SESSIONS, OLDEST_DAYS
from perfgate.model import Baseline, Cell, OperatingPoint, Policy


def broken(
    baseline: Baseline, points: Iterable[OperatingPoint], policy: Policy, *, today: date
) -> list[str]:
    """Everything that is wrong with a baseline, one sentence each; empty if it is sound.

    A cell without any number, or of a point that points.toml does not name, is wrong too: nothing
    would be held against it, and that would read as a pass.
    """
    name = f"{baseline.hardware}/{baseline.model}-{baseline.precision}"
    known = {point.id: point for point in points}
    return [
        *_digest(baseline, name),
        *(text for cell in sorted(baseline.cells) for text in _cell(baseline, cell, known, policy)),
        *_missing(baseline, name, known),
        *_ratchets(baseline),
        *(
            f"{one.cell}: the floor was lowered until {one.expires} ({one.reason}): meet the old "
            f"one of {one.before_tok_s:g} tok/s, or lower it anew"
            for one in expired(baseline, today)
        ),
    ]


def thin(cell: Cell, today: date) -> str:
    """Why a cell's runs are too few or too old to screen by; empty if they are not."""
    sessions = {sample.session for sample in cell.samples}
    if not sessions:
        return ""
    newest = max(datetime.fromisoformat(one.measured_at).date() for one in cell.samples)
    age = (today - newest).days
    reasons = []
    if len(sessions) < LEAST_SESSIONS:
        reasons.append(f"{len(sessions)} of {LEAST_SESSIONS} sessions")
    if age > OLDEST_DAYS:
        reasons.append(f"the newest is {age} days old, over {OLDEST_DAYS}")
    return ", ".join(reasons)


def _digest(baseline: Baseline, name: str) -> list[str]:
    if baseline.digest == digest_of(baseline):
        return []
    what = "has no digest" if not baseline.digest else "was edited by hand: its digest differs"
    return [f"{name} {what}. The last sound state is in version control"]


def _cell(
    baseline: Baseline, name: str, known: Mapping[str, OperatingPoint], policy: Policy
) -> list[str]:
    cell, point = baseline.cells[name], known.get(name)
    if point is None or not point.gated:
        return [f"{name}: points.toml has no gated point of that name; was it renamed?"]
    if not (cell.samples or cell.floor_tok_s or cell.ceiling_p95_s):
        return [f"{name}: the cell is empty"]
    again = derived_cell(baseline, point, policy)
    pairs = (
        ("floor", cell.floor_tok_s, again.floor_tok_s),
        ("ceiling", cell.ceiling_p95_s, again.ceiling_p95_s),
    )
    return [
        f"{name}: the {what} is {got}, but claim, runs and entries give {expected}"
        for what, got, expected in pairs
        if got != expected
    ]


def _missing(baseline: Baseline, name: str, known: Mapping[str, OperatingPoint]) -> list[str]:
    engine = (baseline.model, baseline.precision)
    claimed = [
        point.id
        for point in known.values()
        if point.claim_on(baseline.hardware)
        and (point.engine.model, point.engine.precision) == engine
    ]
    return [
        f"{name}: point {point} has a claim and no cell; run: perfgate baseline record"
        for point in claimed
        if point not in baseline.cells
    ]


def _ratchets(baseline: Baseline) -> list[str]:
    wrong = []
    for entry in baseline.ratchets:
        cell = baseline.cells.get(entry.cell)
        try:
            floor = confirmed_floor(cell, entry.cell, entry.sessions) if cell else None
        except BaselineError as error:
            wrong.append(str(error))
            continue
        if floor != entry.floor_tok_s:
            wrong.append(
                f"{entry.cell}: a ratchet says {entry.floor_tok_s:g} tok/s, its sessions confirm "
                f"{floor}"
            )
    return wrong
