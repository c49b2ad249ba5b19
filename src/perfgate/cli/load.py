"""Commands around the load client: audit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.load.calibration import Calibration, calibrate_client
from perfgate.load.fidelity import Errors
from perfgate.load.spool import Receiver
from perfgate.model import Protocol, Server, Workload
from perfgate.serving.stamped import serve_stamped
from perfgate.serving.stamped_plain import serve_plain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]

_OSL = 128


class Stamper(StrEnum):
    """Whose stamps the client's are held against."""

    TRITON = "triton"
    PLAIN = "plain"


_SPOKEN = {
    Stamper.TRITON: (Protocol.GRPC, Protocol.HTTP),
    Stamper.PLAIN: (Protocol.HTTP, Protocol.OPENAI),
}


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
    server: Annotated[
        Stamper,
        typer.Option(
            "--server",
            help="Who stamps: a Triton, whose way from the model to the wire is in the error, or a"
            " plain socket, which leaves the client's own.",
        ),
    ] = Stamper.TRITON,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            "--protocol",
            help="How the server is asked: a Triton by grpc (default) or http, a plain one by http"
            " (default) or openai.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure the load client's own error on this machine, against a server that stamps tokens."""
    if pace_ms < 0:
        raise UsageError("--pace-ms", pace_ms, "it must be 0 or more")
    spoken = _SPOKEN[server]
    protocol = protocol or spoken[0]
    if protocol not in spoken:
        rule = f"--server {server} speaks {' and '.join(spoken)}"
        raise UsageError("--protocol", str(protocol), rule)
    if receiver is Receiver.GRPC and protocol is not Protocol.GRPC:
        raise UsageError("--receiver", str(receiver), "it speaks grpc alone")
    with _stamping(server, protocol, pace_ms / 1e3) as stamping:
        found = calibrate_client(
            stamping,
            Workload(concurrency=concurrency, isl=4, osl=_OSL),
            requests=requests or 2 * concurrency,
            receiver=receiver,
        )
    typer.echo(codec.to_pretty_json(found) if json else calibration_text(found), nl=False)


@contextmanager
def _stamping(stamper: Stamper, protocol: Protocol, step_s: float) -> Iterator[Server]:
    if stamper is Stamper.PLAIN:
        with serve_plain(step_s=step_s, protocol=protocol) as server:
            yield server
        return
    with (
        tempfile.TemporaryDirectory(prefix="perfgate-audit-") as folder,
        serve_stamped(step_s=step_s, workdir=Path(folder)) as server,
    ):
        yield replace(server, protocol=protocol)


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
