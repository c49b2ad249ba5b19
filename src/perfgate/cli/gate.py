"""Commands around the paired gate: calibrate and history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from perfgate import calibration, codec, history
from perfgate.calibrate import advice_text, calibrate, outlook, path_of
from perfgate.errors import UsageError
from perfgate.gate.drift import drift
from perfgate.paired import require_paired
from perfgate.report.history_plot import history_svg
from perfgate.setting import BASELINES, Setting, settle
from perfgate.suite import find_root
from perfgate.targets import AUTO

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the console script."""
    app.command(
        "calibrate",
        epilog="Example: perfgate calibrate --boots 10   (once on each of four days)",
    )(calibrate_host)
    app.command(
        "history",
        epilog="Example: perfgate history artifacts   (after a merge), "
        "perfgate history --hardware gb10 --plot history.svg --cell fp8-b192-c160:latency_p95_s",
    )(history_of)


def calibrate_host(
    *,
    target: Annotated[str, typer.Option("--target", help="As for pytest.")] = AUTO,
    boots: Annotated[int, typer.Option("--boots", help="Server starts, in one go.")] = 10,
    windows: Annotated[int, typer.Option("--windows", help="Windows of load a start.")] = 1,
    artifacts: Annotated[Path, typer.Option("--artifacts", help="Folder for the records.")] = Path(
        "artifacts"
    ),
    show: Annotated[
        bool, typer.Option("--show", help="Measure nothing: tell what the stored runs say.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Learn this host's noise: what loss a paired job can find, at what cost; advise a budget."""
    setting = _setting(target, artifacts)
    policy = require_paired(setting.suite.policy)
    if show:
        known = calibration.load(path_of(setting))
    else:
        known = calibrate(setting, boots=boots, windows=windows, say=_say)
    if json:
        typer.echo(codec.to_pretty_json(outlook(known, policy)), nl=False)
    else:
        typer.echo(advice_text(known, policy), nl=False)


def history_of(
    folder: Annotated[
        Path | None, typer.Argument(help="The --artifacts folder of a merge, to remember it.")
    ] = None,
    *,
    hardware: Annotated[
        str | None, typer.Option("--hardware", help="Whose history, such as gb10-sim.")
    ] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", help="The cell to plot, as point:metric.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it into this SVG.")] = None,
    json: AsJson = False,
) -> None:
    """Remember a merge, and look for slow drift against the first twenty; this only advises."""
    if (folder is None) == (hardware is None):
        raise UsageError("history", folder, "name a finished run's folder, or --hardware")
    root = find_root(Path.cwd()) / BASELINES
    merge = None
    if folder is not None:
        hardware, merge = history.merge_of(folder)
    path = root / str(hardware) / history.FILE
    merges = history.remember(path, merge) if merge else history.load(path)
    if not merges:
        raise UsageError("--hardware", hardware, f"no merge is remembered in {path}")
    if plot is not None:
        _draw(plot, merges, cell or history.cells(merges)[0])
    told = codec.to_pretty_json(merges).decode() if json else history.table(merges)
    typer.echo(told)


def _draw(plot: Path, merges: Sequence[history.Merge], cell: str) -> None:
    if cell not in history.cells(merges):
        raise UsageError("--cell", cell, f"it must be one of {', '.join(history.cells(merges))}")
    _, costs = history.of_cell(merges, cell)
    codec.write_atomic(plot, history_svg(cell, costs, drift(costs)).encode())


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _setting(target: str, artifacts: Path) -> Setting:
    return settle(
        Path.cwd(), target=target, url=None, require_hardware=False, artifacts=artifacts.resolve()
    )
