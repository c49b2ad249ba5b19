"""The console script: each command reads files, calls one function, prints what it returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from perfgate import (
    artifacts,
    baselines,
    codec,
)
from perfgate.cli import baseline, explore, gate, load, peers, profile, serve, sweep
from perfgate.errors import MissingRequirementError, PerfGateError, UsageError
from perfgate.exports import formats
from perfgate.exports.annotations import lines_of
from perfgate.exports.formats import Format, Material
from perfgate.gate import exit_code
from perfgate.gate import explain as told
from perfgate.hardware import load_profile
from perfgate.measure.explain import Explanation, explain_runs
from perfgate.observe.doctor import diagnose, diagnosis_text
from perfgate.observe.surroundings import look_around
from perfgate.paired import rejudge_pairs
from perfgate.plan import Planner, described
from perfgate.provenance import versions
from perfgate.publish import compose, render
from perfgate.rejudge import earlier_run, rejudge, remeasure, stored_runs
from perfgate.report.content import Report
from perfgate.report.earlier import changes, unchanged
from perfgate.report.explanation import explanation_lines
from perfgate.report.table import render_text
from perfgate.setting import (
    BASELINES,
    CACHE,
    DEFAULT_HARDWARE,
    ENGINES,
    HARDWARE,
    profile_of,
)
from perfgate.sim.fit import fit
from perfgate.sim.loads import loads_text, measure_virtually
from perfgate.sim.report import report_text, simulation_report
from perfgate.suite import POINTS_FILE, Suite, find_root, load_suite
from perfgate.targets import HARDWARE_TARGETS, look, named_target
from perfgate.trtllm import load_trtllm, runs_in_container
from perfgate.workload_form import trace_rows

EXIT_USAGE = 2
EXIT_INVALID = 4

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Performance gate for LLM serving on TensorRT-LLM and Triton.",
)
baseline_app = typer.Typer(no_args_is_help=True, help="The expected numbers, kept under review.")
app.add_typer(baseline_app, name="baseline")
load.register(app)
profile.register(app)
serve.register(app)
sweep.register(app)
gate.register(app)
explore.register(app)
peers.register(app)
baseline.register(baseline_app)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
Folder = Annotated[Path, typer.Argument(help="The --artifacts folder of a finished run.")]
HardwareName = Annotated[str, typer.Option("--hardware", help="A profile in hardware/.")]


def main() -> NoReturn:
    """Run the command line; a user's mistake is one clear message, never a traceback."""
    try:
        app()
    except PerfGateError as error:
        print(f"perfgate: {error}", file=sys.stderr)  # noqa: T201 - the console is our output
        usage = isinstance(error, UsageError | MissingRequirementError)
        sys.exit(EXIT_USAGE if usage else EXIT_INVALID)
    sys.exit(0)


@app.command(epilog="Example: perfgate simulate --hardware gb10")
def simulate(
    points: Annotated[
        list[str] | None,
        typer.Argument(help="Points to put under their own load (default: the reference points)."),
    ] = None,
    *,
    hardware: HardwareName = DEFAULT_HARDWARE,
    refit: Annotated[
        bool, typer.Option("--fit", help="Fit the parameters anew and print them first.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Simulate points in virtual time: the given ones, or reference points and the sweep."""
    suite = _suite()
    profile = load_profile(suite.root / HARDWARE / f"{hardware}.toml")
    if refit:
        profile = fit(profile, suite.points)
    if points:
        measured = [
            measure_virtually(
                point, profile, suite.policy, trace=trace_rows(point.workload, suite.root)
            )
            for point in map(suite.point, points)
        ]
        told_loads = codec.to_pretty_json(measured) if json else loads_text(profile.name, measured)
        typer.echo(told_loads, nl=False)
        return
    report = simulation_report(profile, suite.points)
    typer.echo(codec.to_pretty_json(report) if json else report_text(report), nl=False)


@app.command(epilog="Example: perfgate judge artifacts; echo $?")
def judge(folder: Folder, *, json: AsJson = False) -> None:
    """Judge a stored run again from its records.

    Exit code: 0 pass or improvement, 1 regression, 2 wrong usage, 3 inconclusive, 4 invalid,
    5 unstable.
    """
    suite = _suite()
    pairs = rejudge_pairs(folder)
    judgements = (pairs,) if pairs else ()
    if not pairs or (folder / artifacts.MEASUREMENTS).exists():
        stored = rejudge(folder, suite.root / BASELINES, suite.policy)
        judgements = (*stored.every_judgement, *judgements)
    if json:
        typer.echo(codec.to_pretty_json(judgements), nl=False)
    else:
        typer.echo("\n".join(told(judgement) for judgement in judgements))
    raise typer.Exit(exit_code(judgements))


@app.command(epilog="Example: perfgate explain artifacts-before artifacts")
def explain(
    before: Annotated[Path, typer.Argument(help="The --artifacts folder of the run before.")],
    after: Folder,
    *,
    json: AsJson = False,
) -> None:
    """Say which phase the change between two stored runs comes from, point by point."""
    policy = _suite().policy
    explanations = explain_runs(remeasure(before, policy), remeasure(after, policy))
    if json:
        typer.echo(codec.to_pretty_json([_explained(one) for one in explanations]), nl=False)
    else:
        typer.echo("\n".join(line for one in explanations for line in explanation_lines(one)))


@app.command(epilog="Example: perfgate report artifacts-monday artifacts-tuesday artifacts")
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(help="--artifacts folders of finished runs; the last is reported."),
    ],
) -> None:
    """Measure and judge a stored run again and write its report anew, beside earlier runs' numbers.

    The report is written into the last folder; runs named before it, oldest first, are compared.
    """
    *before, folder = folders
    suite = _suite()
    content = _report(folder, suite, before)
    render(folder, content)
    typer.echo(render_text(content, colour=sys.stdout.isatty()), nl=False)
    for change in changes(content.earlier, content.measurements):
        typer.echo("\n  ".join((change.headline, *change.causes)))
    if same := unchanged(content.earlier, content.measurements):
        typer.echo(f"No change of latency: {', '.join(same)}")
    typer.echo(f"Report: {folder / artifacts.REPORT_HTML}")


@app.command(epilog="Example: perfgate plan --target trt-engine --output plan")
def plan(
    *,
    target: Annotated[str, typer.Option("--target", help="trt-engine, llmapi or sim.")],
    output: Annotated[Path, typer.Option("--output", help="A new folder for the plan.")],
    point: Annotated[
        str | None, typer.Option("--point", help="This point only (default: every point).")
    ] = None,
    json: AsJson = False,
) -> None:
    """Render the model repositories and write every command; build and run nothing."""
    suite = _suite()
    chosen = named_target(target)
    planner = Planner(
        root=suite.root,
        cache=suite.root / CACHE / ENGINES,
        target=chosen,
        config=load_trtllm(suite.root) if chosen in HARDWARE_TARGETS else None,
        output=output,
    )
    written = planner.write((suite.point(point),) if point else suite.points)
    text = codec.to_pretty_json(written).decode() if json else f"{described(written)}\n"
    typer.echo(text, nl=False)


@app.command(epilog="Example: perfgate doctor")
def doctor(*, json: AsJson = False) -> None:
    """Say what is here, what each target lacks and how to get it, and what would run."""
    diagnosis = diagnose(
        look(),
        look_around(),
        version=versions()["perfgate"],
        in_container=_in_container(),
    )
    typer.echo(codec.to_pretty_json(diagnosis) if json else diagnosis_text(diagnosis), nl=False)


@app.command(epilog='Example: perfgate export summary artifacts >> "$GITHUB_STEP_SUMMARY"')
def export(
    kind: Annotated[Format, typer.Argument(metavar="FORMAT", help=", ".join(Format))],
    folder: Folder,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write this file instead of standard output.")
    ] = None,
) -> None:
    """Write a stored run in a form that another tool reads, judged again from its records."""
    if output is None and kind in formats.BINARY and sys.stdout.isatty():
        raise UsageError("--output", output, f"{kind} is no text: name a file to write")
    suite = _suite()
    points = suite.root / POINTS_FILE
    material = Material(
        report=_report(folder, suite),
        runs=lambda: stored_runs(folder),
        points_file=os.path.relpath(points),
        lines=lines_of(points.read_text(encoding="utf-8")),
    )
    data = formats.export(kind, material)
    if output is None:
        typer.echo(data, nl=False)
    else:
        codec.write_atomic(output, data)


@baseline_app.command(epilog="Example: perfgate baseline record artifacts")
def record(
    folder: Annotated[
        Path | None, typer.Argument(help="The --artifacts folder of a finished run.")
    ] = None,
    *,
    claims: Annotated[
        str | None,
        typer.Option("--claims", help="Only write the claims of points.toml for this hardware."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget the earlier runs of each measured point.")
    ] = False,
) -> None:
    """Add a run to the baselines, or write floors and ceilings from the points' claims alone."""
    if (folder is None) == (claims is None):
        raise UsageError("baseline record", folder, "name a finished run's folder, or --claims")
    suite = _suite()
    stored = artifacts.load_measurements(folder) if folder else None
    hardware = stored.run.hardware if stored else str(claims)
    written = baselines.record_into(
        suite.root / BASELINES,
        hardware,
        suite.points,
        remeasure(folder, suite.policy) if folder else (),
        policy=suite.policy,
        session=stored.run.started_at if stored else "",
        commit=stored.run.commit if stored else "",
        replace_samples=replace,
    )
    for path in written:
        typer.echo(path)


@baseline_app.command(epilog="Example: perfgate baseline show gb10-sim")
def show(
    hardware: Annotated[str | None, typer.Argument(help="One kind of hardware only.")] = None,
    *,
    json: AsJson = False,
) -> None:
    """Show what the stored baselines expect."""
    root = _suite().root / BASELINES
    found = [baselines.load(path) for path in baselines.files(root, hardware or "*")]
    if not found:
        rule = f"no baseline lies there; make one: perfgate baseline record (looked in {root})"
        raise UsageError("hardware", hardware or "any", rule)
    text = (
        codec.to_pretty_json(found).decode()
        if json
        else f"{baselines.table(found, today=datetime.now(UTC).date())}\n"
    )
    typer.echo(text, nl=False)


def _explained(explanation: Explanation) -> dict[str, object]:
    return {
        "before": explanation.before.point.id,
        "after": explanation.after.point.id,
        "latency_change": explanation.latency,
        "throughput_change": explanation.throughput,
        "changes": explanation.changes,
        "reason": explanation.reason,
        "differences": explanation.differences,
    }


def _in_container() -> bool:
    """What the suite around this folder says, if there is one: the doctor works anywhere."""
    try:
        root = find_root(Path.cwd())
    except UsageError:
        return False
    return runs_in_container(root)


def _suite() -> Suite:
    return load_suite(find_root(Path.cwd()))


def _report(folder: Path, suite: Suite, before: Sequence[Path] = ()) -> Report:
    results = rejudge(folder, suite.root / BASELINES, suite.policy)
    cells = baselines.cells(suite.root / BASELINES, results.info.hardware, suite.points)
    return compose(
        results,
        cells,
        profile_of(results.info.hardware, suite.root / HARDWARE),
        [earlier_run(one, suite.policy) for one in before],
    )
