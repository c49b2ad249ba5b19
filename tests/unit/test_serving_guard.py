"""The guard: whatever way a server ends, nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from perfgate.serving import guard

pytestmark = pytest.mark.unit

PATIENCE_S = 10.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies


@pytest.fixture
def guarded():
    """Start a program under a guard of its own; whatever the test leaves is killed."""
    started = []

    def start(*argv, grace_s=5.0, prefix=None, cleanup=()):
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                guard.__file__,
                prefix or f"perfgate-test-{uuid.uuid4().hex}-",
                str(grace_s),
                json.dumps(cleanup),
                *argv,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(pid):
    """Wait until no process has that id, or fail."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_the_server_s_own_end_is_the_guard_s(guarded):
    """An exit status travels through."""
    process, _ = guarded("sh", "-c", "exit 7")

    assert process.wait(PATIENCE_S) == 7


def test_a_server_killed_by_a_signal_has_the_shell_s_status(guarded):
    """128 plus the signal, as a shell says it."""
    process, pid = guarded("sleep", "600")
    os.kill(pid, signal.SIGKILL)

    assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL


def test_closing_the_pipe_stops_the_server(guarded):
    """That is how perfgate asks, and what happens when perfgate dies."""
    process, pid = guarded("sleep", "600")
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 128 + signal.SIGTERM
    assert gone(pid)


def test_a_server_deaf_to_sigterm_is_killed_after_its_grace(guarded):
    """Patience ends."""
    process, pid = guarded("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", grace_s=0.2)
    time.sleep(0.1)  # let the shell set its trap
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 128 + signal.SIGKILL
    assert gone(pid)


def test_the_server_s_children_go_with_it(guarded, tmp_path):
    """A stub that its server did not stop is killed."""
    note = tmp_path / "child"
    process, _ = guarded("sh", "-c", f"sleep 600 & echo $! > {note}; exit 3")

    assert process.wait(PATIENCE_S) == 3
    assert gone(int(note.read_text()))


def test_a_killed_guard_takes_the_server_along(guarded):
    """Not even SIGKILL of the guard leaves a server behind."""
    process, pid = guarded("sleep", "600")
    process.kill()

    assert gone(pid)


def test_only_the_server_s_own_shared_memory_is_removed(guarded):
    """Segments of the prefix go, those of another server stay."""
    mine, other = (f"perfgate-test-{uuid.uuid4().hex}-" for _ in range(2))
    segments = [SHARED_MEMORY / f"{prefix}stub" for prefix in (mine, other)]
    for segment in segments:
        segment.write_bytes(b"x")
    try:
        process, _ = guarded("sleep", "600", prefix=mine)
        process.communicate(timeout=PATIENCE_S)

        assert [segment.exists() for segment in segments] == [False, True]
    finally:
        segments[1].unlink(missing_ok=True)


def test_a_last_command_runs_however_the_server_ends(guarded, tmp_path):
    """So that a container goes with its client: asked to stop, or ended by itself."""
    for name, program in (("asked", ("sleep", "600")), ("ended", ("true",))):
        note = tmp_path / name
        process, _ = guarded(*program, cleanup=["touch", str(note)])
        process.communicate(timeout=PATIENCE_S)

        assert note.exists()


def test_a_last_command_that_is_not_there_changes_nothing(guarded):
    """A machine without docker has no container to remove."""
    process, _ = guarded("sh", "-c", "exit 7", cleanup=["/nonexistent/docker"])

    assert process.wait(PATIENCE_S) == 7


def test_a_program_that_cannot_start_is_no_hang(tmp_path):
    """A missing binary ends the guard at once, without a pid."""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", guard.__file__, "x-", "1", "[]", tmp_path / "absent"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ended.returncode != 0
    assert not ended.stdout
