"""Stands between perfgate and a program it runs, so that no way to die leaves anything behind.

Run as `python guard.py SHM_PREFIX GRACE_SECONDS CLEANUP ARGV...` with a pipe on standard input;
CLEANUP is a JSON list, the argv of a last command such as `docker rm`, or empty. It starts
ARGV in a process group of its own, prints its pid, and stops it when the pipe closes: because
perfgate asked, or because perfgate died, by SIGKILL or otherwise. Stopping is one path: SIGTERM, a
grace period, SIGKILL to the group, then every descendant is reaped, every shared-memory segment
of the prefix removed and the last command run. The exit status is the server's own, 128 + signal if
it was killed. Standard library only: it starts in a few milliseconds and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies, no temp file
_TICK_S = 0.1
_CLEANUP_S = 30.0


def main(prefix: str, grace_s: float, cleanup: list[str], argv: list[str]) -> int:
    """Run `argv` until it ends or nobody wants it any more; returns its exit status."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _raise_exit)
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
        # Safe here: the guard has one thread. If the guard itself is killed, its child goes too.
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
    )
    try:
        print(child.pid, flush=True)  # noqa: T201 - the caller reads it
        _wait_until_unwanted(child)
    except (SystemExit, BrokenPipeError):
        pass  # asked to stop, or nobody left to tell: either way, stop below
    finally:
        _stop(child, grace_s)
        sweep(child.pid, prefix)
        child.wait()
        _reap(grace_s)
        clean_up(cleanup)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def sweep(group: int, prefix: str) -> None:
    """Kill what is left of the server's process group and remove its shared-memory segments."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for segment in _SHARED_MEMORY.glob(f"{prefix}*"):
        segment.unlink(missing_ok=True)


def clean_up(argv: list[str]) -> None:
    """Run the last command, if there is one; it has nobody left to tell if it fails."""
    if argv:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_CLEANUP_S,
                check=False,
            )


def _raise_exit(*_: object) -> None:
    raise SystemExit


def _wait_until_unwanted(child: subprocess.Popen[bytes]) -> None:
    """Return when the child has ended, the pipe has closed or the parent is another one.

    The pipe alone would do, were it not inherited by every process the parent forks.
    """
    parent = os.getppid()
    while child.poll() is None and os.getppid() == parent:
        if select.select([sys.stdin], [], [], _TICK_S)[0]:
            return


def _stop(child: subprocess.Popen[bytes], grace_s: float) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)


def _reap(grace_s: float) -> None:
    """Wait for the orphaned grandchildren, which the kernel hands to this subreaper."""
    deadline = time.monotonic() + grace_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(_TICK_S / 10)  # waiting for any child has no time limit of its own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]))
