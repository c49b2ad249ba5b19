"""The console command `perfgate explore`: the fastest settings under a P95 ceiling."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.explore import findings
from perfgate.explore.findings import Budget, Exploration
from perfgate.explore.fragment import points_toml
from perfgate.explore.run import Task, explore
from perfgate.explore.space import Space
from perfgate.explore.trials import Goal
from perfgate.model import OperatingPoint, Target
from perfgate.provenance import wall_clock
from perfgate.report.exploration import exploration_text, fragment_notes, render_exploration
from perfgate.report.exploration_chart import exploration_svg
from perfgate.report.progress import Step
from perfgate.rig import Observer, Rig
from perfgate.run_info import run_info
from perfgate.setting import Setting, settle
from perfgate.targets import AUTO
from perfgate.terminal import TerminalProgress

VIRTUAL_CANDIDATES, LIVE_CANDIDATES = 150, 8


def register(app: typer.Typer) -> None:
    """Add the command to the console script."""
    app.command(
        "explore",
        epilog="Example: perfgate explore --point fp8-b192-c160 --target sim --minutes 10",
    )(explore_command)


def explore_command(
    *,
    point: Annotated[
        str, typer.Option("--point", help="Where to start; its prompt and answer lengths stay.")
    ],
    ceiling: Annotated[
        float | None, typer.Option("--ceiling", help="P95 in s (default: the point's claim).")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="As for pytest.")] = AUTO,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            help=f"Settings to try (default {VIRTUAL_CANDIDATES}, {LIVE_CANDIDATES} if measured).",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="What all of it may take.")] = 20.0,
    confirm: Annotated[
        int, typer.Option("--confirm", help="Front-runners to measure on the target.")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 1,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for the findings; an unfinished one goes on.")
    ] = Path("explore"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Search engine and scheduler settings for the highest throughput under a P95 ceiling."""
    setting = settle(
        Path.cwd(), target=target, url=None, require_hardware=False, artifacts=output.resolve()
    )
    started = time.monotonic()
    usual = LIVE_CANDIDATES if setting.profile.simulation is None else VIRTUAL_CANDIDATES
    wanted = usual if candidates is None else candidates
    budget = Budget(candidates=wanted, minutes=minutes, confirm=confirm)
    task = _task(setting, setting.suite.point(point), ceiling, budget, seed)
    started_at = wall_clock()
    try:
        found = explore(
            task,
            setting.artifacts,
            observe=_progress,
            open_rig=lambda folder, observer: Rig(replace(setting, artifacts=folder), observer),
            clock=time.monotonic,
            info=lambda: run_info(
                setting, started_at=started_at, duration_s=time.monotonic() - started
            ),
        )
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. Nothing is lost: the same command goes on in {output}.", err=True)
        raise typer.Exit(130) from None
    write(setting.artifacts, found)
    typer.echo(codec.to_pretty_json(found) if json else exploration_text(found), nl=False)
    typer.echo(f"Findings: {output}", err=True)


def write(folder: Path, found: Exploration) -> None:
    """Write explore.json, explore.html, explore.svg and, where there is a best, explore.toml."""
    codec.write_atomic(folder / findings.EXPLORE, codec.to_pretty_json(found))
    codec.write_atomic(folder / findings.HTML, render_exploration(found).encode())
    codec.write_atomic(folder / findings.SVG, exploration_svg(found).encode())
    if found.best_point is not None:
        text = points_toml(
            {fragment_notes(found): found.best_point},
            hardware=found.run.hardware,
            ceiling_p95_s=found.goal.ceiling_p95_s,
            source=f"perfgate explore on {found.run.hardware}, seed {found.seed}",
        )
        codec.write_atomic(folder / findings.POINTS, text.encode())


def _task(
    setting: Setting, point: OperatingPoint, ceiling: float | None, budget: Budget, seed: int
) -> Task:
    if setting.target is Target.REMOTE:
        raise UsageError("--target", "remote", "its server's settings are not ours to change")
    if not point.workload.uniform:
        raise UsageError("--point", point.id, "its load must be a closed loop of equal requests")
    claimed = point.claim.ceiling_p95_s if point.claim else None
    ceiling_s = ceiling if ceiling is not None else claimed
    if ceiling_s is None:
        raise UsageError("--ceiling", ceiling, f"point {point.id} claims none: name one in seconds")
    for name, value in (("--ceiling", ceiling_s), ("--minutes", budget.minutes)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(name, value, "it must be above 0")
    for name, number, least in (
        ("--candidates", budget.candidates, 1),
        ("--confirm", budget.confirm, 0),
        ("--seed", seed, 0),
    ):
        if number < least:
            raise UsageError(name, number, f"it must be {least} or more")
    policy = setting.suite.policy
    return Task(
        space=Space(start=point, profile=setting.profile),
        goal=Goal(ceiling_p95_s=ceiling_s, max_p95_over_p50=policy.max_p95_over_p50),
        policy=policy,
        budget=budget,
        seed=seed,
    )


def _progress(plan: tuple[Step, ...]) -> Observer:
    return TerminalProgress(sys.stderr, plan, live=sys.stderr.isatty())
