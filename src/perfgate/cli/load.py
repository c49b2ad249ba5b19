"""Commands around the load client: audit."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.load.calibration import Calibration, calibrate_client
from perfgate.load.fidelity import Errors
from perfgate.load.spool import Receiver
from perfgate.model import Protocol, Workload
from perfgate.serving.stamped import serve_stamped

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]

_OSL = 128


def register(app: typer.Typer) -> None:
    """Add the commands to the console script."""
    app.command("audit", epilog="Example: perfgate audit --concurrency 64 --pace-ms 20")(audit)


def audit(
    *,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Streams at once.")] = 64,
    pace_ms: Annotated[
        float, typer.Option("--pace-ms", help="Time between tokens; 0 = flat out.")
    ] = 20.0,
    requests: Annotated[
        int | None, typer.Option("--requests", help="Requests measured (default: two a stream).")
    ] = None,
    receiver: Annotated[
        Receiver, typer.Option("--receiver", help="Whose stamps are judged.")
    ] = Receiver.FAST,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="How the server is asked: grpc or http.")
    ] = Protocol.GRPC,
    json: AsJson = False,
) -> None:
    """Measure the load client's own error on this machine, against a Triton that stamps tokens."""
    if pace_ms < 0:
        raise UsageError("--pace-ms", pace_ms, "it must be 0 or more")
    if protocol is Protocol.OPENAI:
        raise UsageError("--protocol", str(protocol), "the Triton that stamps speaks grpc and http")
    if receiver is Receiver.GRPC and protocol is not Protocol.GRPC:
        raise UsageError("--receiver", str(receiver), "it speaks grpc alone")
    workload = Workload(concurrency=concurrency, isl=4, osl=_OSL)
    with (
        tempfile.TemporaryDirectory(prefix="perfgate-audit-") as folder,
        serve_stamped(step_s=pace_ms / 1e3, workdir=Path(folder)) as server,
    ):
        found = calibrate_client(
            replace(server, protocol=protocol),
            workload,
            requests=requests or 2 * concurrency,
            receiver=receiver,
        )
    typer.echo(codec.to_pretty_json(found) if json else calibration_text(found), nl=False)


def calibration_text(found: Calibration) -> str:
    """Render what a calibration found, for a terminal."""
    fidelity, client = found.fidelity, found.audit
    rows = (
        (
            f"receiver {found.receiver}, {found.protocol}, {found.concurrency} streams,"
            f" {fidelity.tokens} tokens at"
            f" {found.tok_s:.0f} tok/s\n"
        ),
        f"{'error, ms':24}{'P50':>9}{'P95':>9}{'P99':>9}{'worst':>9}",
        _row("lag (arrival - sending)", fidelity.lag),
        _row("token gap", fidelity.gap_error),
        _row("time to first token", fidelity.ttft_error),
        (
            f"\ntokens lost {fidelity.lost}, doubled {fidelity.doubled}, out of order"
            f" {fidelity.reordered}"
        ),
        (
            f"client CPU {found.cpu_us_per_token:.1f} us a token"
            f" ({client.cpu_share:.0%} of a core); its loop came"
            f" {client.lag_p99_s * 1e3:.1f} ms late (P99),"
            f" {client.involuntary_switches} involuntary switches; without a core for"
            f" {client.wait_share:.0%} of the time, {client.stolen_share:.1%} stolen"
        ),
        *(f"fault: {fault}" for fault in found.faults),
    )
    return "\n".join(rows) + "\n"


def _row(name: str, errors: Errors) -> str:
    values = (errors.p50_s, errors.p95_s, errors.p99_s, errors.worst_s)
    return f"{name:24}" + "".join(f"{value * 1e3:9.3f}" for value in values)
