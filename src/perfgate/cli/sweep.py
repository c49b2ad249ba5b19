"""The command that measures an engine over its load: sweep."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from perfgate import artifacts, codec
from perfgate.errors import UsageError
from perfgate.peers.drive import Driver, require_driver
from perfgate.report.sweep import sweep_text
from perfgate.setting import Setting, settle
from perfgate.sweep.driven_rig import Drive
from perfgate.sweep.job import SweepJob
from perfgate.targets import AUTO
from perfgate.terminal import TerminalProgress

T = TypeVar("T")

EXIT_INVALID = 4
EXIT_INTERRUPTED = 130
_EXAMPLE = "Example: perfgate sweep --engine fp8-b192 --simulate"


def register(app: typer.Typer) -> None:
    """Add the command to the console script."""
    app.command("sweep", epilog=_EXAMPLE)(sweep)


def sweep(
    *,
    engine: Annotated[
        list[str], typer.Option("--engine", help="An engine of points.toml; may be repeated.")
    ],
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", help="Only these, as 1,8,64 (default: chosen on the way)."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", help="Open loop: offer these requests/s, as 4,8,16, or `auto`."),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="What an engine may cost where they are chosen.")
    ] = 10.0,
    boots: Annotated[
        int, typer.Option("--boots", min=1, help="Server starts; bands then hold their scatter.")
    ] = 1,
    p95_ceiling: Annotated[
        float | None,
        typer.Option("--p95-ceiling", help="In seconds (default: what the engine's point claims)."),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="In virtual time, in seconds, without a server.")
    ] = False,
    target: Annotated[str, typer.Option("--target", help="As for pytest.")] = AUTO,
    triton_url: Annotated[
        str | None, typer.Option("--triton-url", help="As for pytest (target remote).")
    ] = None,
    driver: Annotated[
        Driver | None,
        typer.Option("--driver", help="Another tool that sends the load, where it is installed."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="What --driver draws prompts with: a name or folder."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for it; one that is begun is gone on with.")
    ] = Path("artifacts/sweep"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")] = False,
) -> None:
    """Measure engines over concurrency: the curve, its knee, and the range to run at and why.

    With --rate the loop is open, and the answer is the highest rate that an engine keeps up with.
    Every point is stored at once. Ctrl-C ends a sweep in order; the same command goes on with it.
    Exit code: 0, 2 wrong usage, 4 an engine without a valid measurement, 130 interrupted.
    """
    rates = _rates(rate, concurrency=concurrency, boots=boots, driver=driver)
    drive = _drive(driver, tokenizer, virtual=simulate)
    setting = _setting(target, triton_url, output, virtual=simulate)
    job = SweepJob(
        setting,
        progress=TerminalProgress(
            sys.stderr,
            (),
            width=shutil.get_terminal_size().columns,
            live=sys.stderr.isatty(),
        ),
        engines=engine,
        concurrencies=_concurrencies(concurrency),
        rates=rates,
        budget_s=60 * minutes,
        boots=boots,
        p95_ceiling_s=p95_ceiling,
        virtual=simulate,
        drive=drive,
    )
    finished = job.run()
    if json:
        told = [
            {
                "engine": one.point.engine.name,
                "ended": one.ended,
                "result": one.result or one.offered,
            }
            for one in job.content.engines
        ]
        typer.echo(codec.to_pretty_json(told), nl=False)
    else:
        typer.echo(sweep_text(job.content), nl=False)
        if job.measured:
            typer.echo(f"Report: {output / artifacts.SWEEP_HTML}")
    if not finished:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not job.measured:
        raise typer.Exit(EXIT_INVALID)


def _setting(target: str, url: str | None, output: Path, *, virtual: bool) -> Setting:
    if virtual and target not in (AUTO, "sim"):
        raise UsageError("--target", target, "--simulate is the simulated target in virtual time")
    if virtual and url is not None:
        raise UsageError("--triton-url", url, "--simulate needs no server")
    return settle(
        Path.cwd(),
        target="sim" if virtual else target,
        url=url,
        require_hardware=False,
        artifacts=output.resolve(),
    )


def _drive(driver: Driver | None, tokenizer: str | None, *, virtual: bool) -> Drive | None:
    if driver is None:
        if tokenizer is not None:
            raise UsageError("--tokenizer", tokenizer, "it is for --driver, which is not given")
        return None
    if virtual:
        raise UsageError("--driver", str(driver), "--simulate has no server that it could load")
    if tokenizer is None:
        rule = f"name a Hugging Face tokenizer or its folder for {driver} to draw prompts with"
        raise UsageError("--tokenizer", "(absent)", rule)
    require_driver(driver)
    return Drive(driver=driver, tokenizer=tokenizer)


def _concurrencies(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    return _numbers("--concurrency", text, int, "whole numbers with commas between, as 1,8,64")


def _rates(
    text: str | None, *, concurrency: str | None, boots: int, driver: Driver | None
) -> tuple[float, ...] | None:
    """The rates to offer, none for the sweep's own choice; None for a closed loop."""
    if text is None:
        return None
    if concurrency is not None:
        rule = "a closed loop has a concurrency, an open one a rate: give one of them"
        raise UsageError("--concurrency", concurrency, rule)
    if boots > 1:
        raise UsageError("--boots", boots, "rates are offered on one server start")
    if driver is not None:
        raise UsageError("--driver", str(driver), "rates are offered by perfgate's own client")
    if text == AUTO:
        return ()
    return _numbers("--rate", text, float, "numbers with commas between, as 4,8,16, or `auto`")


def _numbers(option: str, text: str, kind: Callable[[str], T], rule: str) -> tuple[T, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(option, text, f"it must be {rule}") from error
