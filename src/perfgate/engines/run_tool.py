"""One tool of a build: run under a guard, its log kept, its last words in the error."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from perfgate.engines.commands import Command
from perfgate.errors import BuildError
from perfgate.serving.launch import guarded_argv

_GRACE_S = 10.0
_TAIL_LINES = 25
_TAIL_WIDTH = 400


def run_tool(command: Command, log: Path, *, cleanup: Sequence[str] = ()) -> None:
    """Run the command to its end; whatever ends us ends it too.

    `cleanup` is the argv of a last command. Raises BuildError with the log's last lines if the
    tool cannot be started or does not end well.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    identity = f"perfgate-build-{os.getpid()}-"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            guarded_argv(command.argv, identity, _GRACE_S, cleanup),
            env={**os.environ, **command.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        started = bool(process.stdout and process.stdout.readline())
        status = process.wait()
    if status or not started:
        raise BuildError(_failure(command, status, log))


def _failure(command: Command, status: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(f"  {line[:_TAIL_WIDTH]}" for line in lines[-_TAIL_LINES:])
    end = f"The end of {log}:\n{tail}" if tail else f"It wrote nothing to {log}."
    return f"{command.name} ended with status {status}. {end}\nIt ran: {shlex.join(command.argv)}"
