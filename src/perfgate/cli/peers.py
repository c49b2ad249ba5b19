"""The command that reads what another load tool recorded: import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from perfgate.artifacts import RECORDS, MeasurementsFile, save_measurements
from perfgate.model import Target
from perfgate.peers.records import read_peer
from perfgate.recorded import measure_recorded
from perfgate.run_info import described_run
from perfgate.setting import DEFAULT_HARDWARE, HARDWARE, profile_of
from perfgate.suite import find_root, load_suite


def register(app: typer.Typer) -> None:
    """Add the command to the console script."""
    app.command(
        "import",
        epilog="Example: perfgate import profile_export.jsonl --point fp8-b192-c160"
        " --output artifacts/aiperf",
    )(import_)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="profile_export.json (genai-perf) or profile_export.jsonl (aiperf)."),
    ],
    *,
    point: Annotated[str, typer.Option("--point", help="The point whose load the tool drove.")],
    output: Annotated[Path, typer.Option("--output", help="Where the artefacts are written.")],
    hardware: Annotated[
        str, typer.Option("--hardware", help="What it was measured on: a name of baselines.")
    ] = DEFAULT_HARDWARE,
    token_a_message: Annotated[
        bool,
        typer.Option("--token-a-message", help="Where no tokens are counted: each message is one."),
    ] = False,
) -> None:
    """Read what genai-perf, perf_analyzer or aiperf recorded, to report it beside our own."""
    suite = load_suite(find_root(Path.cwd()))
    profile = profile_of(hardware, suite.root / HARDWARE)
    started_at = _modified(file)
    run = read_peer(file, suite.point(point), hardware, started_at, token_a_message=token_a_message)
    measurement = measure_recorded(run, suite.policy, output / RECORDS)
    info = described_run(
        suite.root,
        target=Target.REMOTE,
        hardware=hardware,
        title=profile.title,
        started_at=started_at,
        duration_s=measurement.window_s,
    )
    saved = save_measurements(output, MeasurementsFile(run=info, measurements=(measurement,)))
    typer.echo(
        f"{run.fingerprint.identity['driver']}: {measurement.requests} requests,"
        f" {measurement.throughput_tok_s:.1f} tok/s. Wrote {saved}; next: perfgate report {output}"
    )


def _modified(file: Path) -> str:
    """When the tool wrote the file: the only time of day that is known."""
    if not file.is_file():
        return ""  # reading it will say so
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
