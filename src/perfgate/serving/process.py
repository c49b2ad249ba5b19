"""A tritonserver of our own: started, waited for until its models answer, always stopped."""

from __future__ import annotations

import dataclasses
import http.client
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from perfgate.errors import ServerError
from perfgate.model import Engine, Server, ServingSpec
from perfgate.serving import guard, tensors
from perfgate.serving.command import HOST, Ports, server_command
from perfgate.serving.repository import write_repository
from perfgate.serving.tokenizer import load_tokenizer
from perfgate.serving.triton import find_triton, make_backend_directory

READY_TIMEOUT_S = 120.0
# From SIGTERM to SIGKILL; above Triton's own wait for requests in flight.
GRACE_S = 8.0
_POLL_S = 0.1
_ANSWER_TIMEOUT_S = 2.0
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A server about to run: its command line, environment, log, and where it will answer.

    `identity` is the name it gives itself and the prefix of its shared-memory segments.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    identity: str
    server: Server


@contextmanager
def serve(
    engine: Engine, serving: ServingSpec, *, workdir: Path, ready_timeout_s: float = READY_TIMEOUT_S
) -> Iterator[Server]:
    """Boot Triton with the engine behind the ensemble and yield it once its models answer.

    All it writes, its log too, lies under `workdir`. However this ends, even by SIGKILL, no process,
    port or shared-memory segment is left. Raises ServerError with the log's last lines if Triton
    dies or is not ready in time, MissingRequirementError if it cannot run here.
    """
    install = find_triton()
    repository = write_repository(workdir, engine, serving, load_tokenizer())
    backends = make_backend_directory(install, workdir / "backends")
    identity = f"perfgate-{secrets.token_hex(6)}-"
    ports = pick_ports()
    log = workdir / "triton.log"
    launch = Launch(
        argv=server_command(
            install.binary, repository=repository, backends=backends, ports=ports, identity=identity
        ),
        environment=install.environment,
        log=log,
        identity=identity,
        server=Server(
            grpc_url=f"{HOST}:{ports.grpc}",
            http_url=f"http://{HOST}:{ports.http}",
            metrics_url=f"http://{HOST}:{ports.metrics}/metrics",
            simulated=engine.simulated,
            log=log,
        ),
    )
    with run(launch, ready_timeout_s=ready_timeout_s) as server:
        yield server


@contextmanager
def run(
    launch: Launch,
    *,
    ready_timeout_s: float,
    grace_s: float = GRACE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Server]:
    """Run the server under its guard, yield it with its pid once it is ready, and stop it."""
    started = clock()
    with _guarded(launch, grace_s) as (process, pid):
        while not is_ready(launch.server.http_url, launch.identity):
            if process.poll() is not None:
                raise _failure(f"exited with status {process.returncode}", clock() - started, launch)
            if clock() - started > ready_timeout_s:
                raise _failure("was not ready", clock() - started, launch)
            sleep(_POLL_S)
        yield dataclasses.replace(launch.server, pid=pid)


def pick_ports() -> Ports:
    """Three free ports of the loopback interface, all held until all are known."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(3)]
        for one in sockets:
            one.bind((HOST, 0))
        http_port, grpc_port, metrics_port = (one.getsockname()[1] for one in sockets)
    return Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)


def is_ready(http_url: str, identity: str) -> bool:
    """Whether the server of that name answers there, with its engine and ensemble loaded.

    The name keeps us from taking for ours another server that was given the same port.
    """
    about = _get(f"{http_url}/v2")
    return (
        about is not None
        and json.loads(about).get("name") == identity
        and all(
            _get(f"{http_url}/v2/models/{model}/ready") is not None
            for model in (tensors.TENSORRT_LLM, tensors.ENSEMBLE)
        )
    )


def _get(url: str) -> bytes | None:
    """The body of a 200 answer, None for anything else."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_TIMEOUT_S) as response:  # noqa: S310 - our own http URL
            body: bytes = response.read()
            return body
    except (urllib.error.URLError, OSError, http.client.HTTPException):
        return None


@contextmanager
def _guarded(launch: Launch, grace_s: float) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The guard process and the server's pid; leaving closes the guard's pipe and waits for it."""
    argv = [sys.executable, "-I", "-S", guard.__file__, launch.identity, str(grace_s), *launch.argv]
    with (
        launch.log.open("ab") as log,
        subprocess.Popen(
            argv,
            env=launch.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Out of the terminal's group: Ctrl-C is ours to answer, by leaving this block.
            start_new_session=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                process.wait()
                raise _failure("could not be started", 0.0, launch)
            yield process, int(line)
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()


def _failure(what: str, after_s: float, launch: Launch) -> ServerError:
    lines = launch.log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (it wrote nothing)"
    return ServerError(f"Triton {what} after {after_s:.1f} s. The end of {launch.log}:\n{tail}")
