"""Commands around the paired gate: calibrate and history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perfgate import calibration, codec
from perfgate.calibrate import advice_text, calibrate, outlook, path_of
from perfgate.paired import require_paired
from perfgate.setting import Setting, settle
from perfgate.targets import AUTO

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the console script."""
    app.command(
        "calibrate",
        epilog="Example: perfgate calibrate --boots 10   (once on each of four days)",
    )(calibrate_host)


def calibrate_host(
    *,
    target: Annotated[str, typer.Option("--target", help="As for pytest.")] = AUTO,
    boots: Annotated[int, typer.Option("--boots", help="Server starts in this session.")] = 10,
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


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _setting(target: str, artifacts: Path) -> Setting:
    return settle(
        Path.cwd(), target=target, url=None, require_hardware=False, artifacts=artifacts.resolve()
    )
