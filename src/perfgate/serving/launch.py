"""One run of a server program: started under its guard, waited for, always stopped."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from perfgate.errors import ServerError
from perfgate.model import Server
from perfgate.serving import guard, tensors
from perfgate.serving.command import HOST, Ports

# From SIGTERM to SIGKILL; above Triton's own wait for requests in flight.
GRACE_S = 8.0
_POLL_S = 0.1
_ANSWER_TIMEOUT_S = 2.0
_TAIL_LINES = 25
_TAIL_WIDTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A server about to run: its command line, environment, log, and where it will answer.

    `identity` is the name it gives itself and the prefix of its shared-memory segments. `cleanup`
    is the argv of a last command, for what does not end with the process: a container.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    identity: str
    log: Path
    server: Server
    cleanup: tuple[str, ...] = ()


class PortTakenError(ServerError):
    """Another process took one of the ports between our picking and Triton's binding it."""


def pick_ports() -> Ports:
    """Three free ports of the loopback interface, all held until all are known."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(3)]
        for one in sockets:
            one.bind((HOST, 0))
        http_port, grpc_port, metrics_port = (one.getsockname()[1] for one in sockets)
    return Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)


@contextmanager
def run(
    launch: Launch,
    *,
    ready_timeout_s: float,
    grace_s: float = GRACE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Server]:
    """Run the server, yield it with its pid once it is ready, and stop it.

    Raises ServerError with the log's last lines if it cannot be started, ends or is not ready in
    time; PortTakenError if that is why.
    """
    started = clock()
    with _guarded(launch, grace_s) as (process, pid):
        while not is_ready(launch.server, launch.identity):
            waited_s = clock() - started
            if process.poll() is not None:
                raise _failure(f"exited with status {process.returncode}", waited_s, launch)
            if waited_s > ready_timeout_s:
                raise _failure("was not ready", waited_s, launch)
            sleep(_POLL_S)
        yield dataclasses.replace(launch.server, pid=pid)


def is_ready(server: Server, identity: str) -> bool:
    """Whether the server of that name answers there, with engine and ensemble loaded.

    The name keeps us from taking for ours another server that got the same port; the metrics
    endpoint opens last.
    """
    about = _get(f"{server.http_url}/v2")
    return (
        about is not None
        and json.loads(about).get("name") == identity
        and all(
            _get(f"{server.http_url}/v2/models/{model}/ready") is not None
            for model in (tensors.TENSORRT_LLM, server.model)
        )
        and _get(server.metrics_url) is not None
    )


def _get(url: str) -> bytes | None:
    """The body of a 200 answer, None for anything else."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_TIMEOUT_S) as response:  # noqa: S310 - our own http URL
            body: bytes = response.read()
            return body
    except (urllib.error.URLError, OSError, http.client.HTTPException):
        return None


def guarded_argv(
    argv: Sequence[str], identity: str, grace_s: float, cleanup: Sequence[str] = ()
) -> list[str]:
    """The argv that runs `argv` under its guard, which reads its standard input."""
    program = [sys.executable, "-I", "-S", guard.__file__]
    return [*program, identity, str(grace_s), json.dumps(list(cleanup)), *argv]


@contextmanager
def _guarded(launch: Launch, grace_s: float) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The guard process and the server's pid.

    Leaving closes the guard's pipe and waits for it to clean up, or does so if it was killed.
    """
    argv = guarded_argv(launch.argv, launch.identity, grace_s, launch.cleanup)
    with (
        launch.log.open("wb") as log,
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
        line = process.stdout.readline() if process.stdout else b""
        try:
            if not line:
                raise _failure("could not be started", 0.0, launch)
            yield process, int(line)
        finally:
            process.communicate()
            if line and process.returncode < 0:
                guard.sweep(int(line), launch.identity)
                guard.clean_up(list(launch.cleanup))


def _failure(what: str, after_s: float, launch: Launch) -> ServerError:
    text = launch.log.read_text(encoding="utf-8", errors="replace")
    # Triton frames its tables with these; what went wrong never stands in them.
    lines = [line for line in text.splitlines() if line and line[0] not in "|+"]
    tail = "\n".join(f"  {line[:_TAIL_WIDTH]}" for line in lines[-_TAIL_LINES:])
    kind = PortTakenError if "already in use" in text else ServerError
    end = f"The end of {launch.log}:\n{tail}" if tail else f"It wrote nothing to {launch.log}."
    return kind(f"Triton {what} after {after_s:.1f} s. {end}")
