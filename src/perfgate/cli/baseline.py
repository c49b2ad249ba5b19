"""`perfgate baseline accept | lower | verify`: how expected numbers change, and that none did.

Each command reads files, calls one function and prints what it returns.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from perfgate import baselines
from perfgate.errors import UsageError
from perfgate.model import Baseline, Lowering
from perfgate.provenance import commit, wall_clock
from perfgate.setting import BASELINES
from perfgate.suite import Suite, find_root, load_suite

HardwareName = Annotated[str, typer.Argument(help="Which hardware's baseline, such as gb10-sim.")]
CellName = Annotated[str, typer.Option("--cell", help="The operating point.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `perfgate baseline`."""
    app.command(
        epilog="Example: perfgate baseline accept gb10 --cell fp8-b192-c160",
    )(accept)
    app.command(
        epilog="Example: perfgate baseline lower gb10 --cell fp8-b192-c160 --floor 2950 "
        "--reason 'driver 590 clocks lower' --expires 2027-01-31",
    )(lower)
    app.command(epilog="Example: perfgate baseline verify")(verify)


def accept(hardware: HardwareName, *, cell: CellName) -> None:
    """Raise a floor to what the recorded sessions confirm; three sessions on two days at least."""
    suite = _suite()
    baseline = _of(suite, hardware, cell)
    known = baseline.cells[cell]
    faster = [
        one.session for one in known.samples if one.throughput_tok_s > (known.floor_tok_s or 0)
    ]
    sessions = list(dict.fromkeys(faster))
    raised = baselines.accept(baseline, cell, sessions, now=wall_clock(), commit=commit(suite.root))
    typer.echo(baselines.save(suite.root / BASELINES, raised))
    typer.echo(f"{cell}: floor {known.floor_tok_s} -> {raised.cells[cell].floor_tok_s} tok/s")


def lower(
    hardware: HardwareName,
    *,
    cell: CellName,
    floor: Annotated[float, typer.Option("--floor", help="The new floor in tok/s.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it may be lower.")],
    expires: Annotated[str, typer.Option("--expires", help="Until when, as YYYY-MM-DD.")],
    signed_by: Annotated[str, typer.Option("--signed-by", help="Who signs, over 3 % in all.")] = "",
) -> None:
    """Lower a floor for a stated reason until a stated day; the ledger in the file remembers it."""
    suite = _suite()
    baseline = _of(suite, hardware, cell)
    before = baseline.cells[cell].floor_tok_s
    if before is None:
        raise UsageError("--cell", cell, "it has no floor to lower")
    entry = Lowering(
        cell=cell,
        floor_tok_s=floor,
        before_tok_s=before,
        reason=reason,
        expires=_day(expires),
        lowered_at=wall_clock(),
        commit=commit(suite.root),
        signed_by=signed_by,
    )
    lowered = baselines.lower(baseline, entry, today=_today())
    typer.echo(baselines.save(suite.root / BASELINES, lowered))


def verify(
    hardware: Annotated[str | None, typer.Argument(help="One kind of hardware only.")] = None,
) -> None:
    """Derive every limit again; exit 4 on a hand edit, an empty, renamed or expired cell."""
    suite = _suite()
    found = [
        baselines.load(path) for path in baselines.files(suite.root / BASELINES, hardware or "*")
    ]
    if not found:
        raise UsageError("hardware", hardware or "any", "no baseline lies there")
    wrong = [
        text
        for baseline in found
        for text in baselines.broken(baseline, suite.points, suite.policy, today=_today())
    ]
    typer.echo("\n".join(wrong) or f"{len(found)} baselines are sound")
    raise typer.Exit(4 if wrong else 0)


def _of(suite: Suite, hardware: str, cell: str) -> Baseline:
    engine = suite.point(cell).engine
    found = baselines.find(suite.root / BASELINES, hardware, engine.model, engine.precision)
    if found is None or cell not in found.cells:
        rule = f"the baselines of {hardware} do not know it; run: perfgate baseline record"
        raise UsageError("--cell", cell, rule)
    return found


def _suite() -> Suite:
    return load_suite(find_root(Path.cwd()))


def _today() -> date:
    return datetime.now(UTC).date()


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError("--expires", text, "it must be a day as YYYY-MM-DD") from error
