"""Engine -> Server: the repository rendered, Triton booted behind it."""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from perfgate.model import Engine, Server, ServingSpec
from perfgate.serving.command import HOST, server_command
from perfgate.serving.launch import Launch, PortTakenError, pick_ports, run
from perfgate.serving.repository import write_repository
from perfgate.serving.tokenizer import load_tokenizer
from perfgate.serving.triton import TritonInstall, find_triton, make_backend_directory

READY_TIMEOUT_S = 120.0
_PORT_ATTEMPTS = 3


@contextmanager
def serve(
    engine: Engine, serving: ServingSpec, *, workdir: Path, ready_timeout_s: float = READY_TIMEOUT_S
) -> Iterator[Server]:
    """Boot Triton with the engine behind the ensemble and yield it once its models answer.

    All it writes, its log too, lies under `workdir`. However this ends, even by SIGKILL, no
    process, port or shared-memory segment is left. Raises ServerError with the log's last lines if
    Triton dies or is not ready in time, MissingRequirementError if it cannot run here.
    """
    install = find_triton()
    write_repository(workdir, engine, serving, load_tokenizer())
    make_backend_directory(install, workdir / "backends")
    plan = functools.partial(_plan, install, workdir, simulated=engine.simulated)
    with ExitStack() as stack:
        yield start(stack, plan, ready_timeout_s=ready_timeout_s)


def start(stack: ExitStack, plan: Callable[[], Launch], *, ready_timeout_s: float) -> Server:
    """Run what `plan` plans until `stack` closes; plan again if a port was taken meanwhile."""
    for _ in range(_PORT_ATTEMPTS - 1):
        with contextlib.suppress(PortTakenError):
            return stack.enter_context(run(plan(), ready_timeout_s=ready_timeout_s))
    return stack.enter_context(run(plan(), ready_timeout_s=ready_timeout_s))


def _plan(install: TritonInstall, workdir: Path, *, simulated: bool) -> Launch:
    ports, identity = pick_ports(), f"perfgate-{secrets.token_hex(6)}-"
    return Launch(
        argv=server_command(
            install.binary,
            repository=workdir / "models",
            backends=workdir / "backends",
            ports=ports,
            identity=identity,
        ),
        environment=install.environment,
        identity=identity,
        log=workdir / "triton.log",
        server=Server(
            grpc_url=f"{HOST}:{ports.grpc}",
            http_url=f"http://{HOST}:{ports.http}",
            metrics_url=f"http://{HOST}:{ports.metrics}/metrics",
            simulated=simulated,
            log=workdir / "triton.log",
        ),
    )
