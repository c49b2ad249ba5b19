"""The command that keeps a simulated target up: serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from perfgate.keep_serving import keep_serving
from perfgate.model import Server, Target
from perfgate.serving.command import Ports
from perfgate.setting import settle

Port = Annotated[int, typer.Option(min=1, max=65535, help="A free port of 127.0.0.1.")]


def register(app: typer.Typer) -> None:
    """Add the command to the console script."""
    app.command("serve", epilog="Example: perfgate serve fp8-b192-c160 --concurrency 128")(serve)


def serve(
    point: Annotated[str, typer.Argument(help="A point of points.toml: its engine is served.")],
    *,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=0, help="Clients to keep busy; 0 only serves.")
    ] = 0,
    http_port: Port = 8000,
    grpc_port: Port = 8001,
    metrics_port: Port = 8002,
) -> None:
    """Serve a simulated engine on the loopback interface until Ctrl-C or SIGTERM."""
    setting = settle(
        Path.cwd(), target=Target.SIM, url=None, require_hardware=False, artifacts=Path()
    )
    keep_serving(
        setting.suite.point(point),
        setting,
        ports=Ports(http=http_port, grpc=grpc_port, metrics=metrics_port),
        concurrency=concurrency,
        tell=_announce,
    )


def _announce(server: Server) -> None:
    for name, url in (
        ("gRPC", server.grpc_url),
        ("HTTP", server.http_url),
        ("metrics", server.metrics_url),
    ):
        typer.echo(f"{name:8}{url}")
    typer.echo("Simulated. Stop it with Ctrl-C.")
    sys.stdout.flush()
