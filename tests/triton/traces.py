"""What a server leaves on the machine: processes, ports, shared memory."""

from __future__ import annotations

import socket
import time
from pathlib import Path

PATIENCE_S = 30.0


def group_of(pid):
    """Every live process of the group that `pid` leads."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == pid and state != "Z":
            members.append(int(stat.parent.name))
    return members


def servers_of(pid):
    """The tritonservers among all that descends from `pid`."""
    found, families = [], [pid]
    while families:
        parent = families.pop()
        try:
            tasks = list(Path(f"/proc/{parent}/task").glob("*/children"))
            children = [int(child) for task in tasks for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        families += children
        found += [child for child in children if name_of(child) == "tritonserver"]
    return found


def name_of(pid):
    """A process's name, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def segments():
    """The names of all shared-memory segments that servers of ours have made."""
    return {path.name for path in Path("/dev/shm").glob("perfgate-*")}  # noqa: S108 - shared memory


def listening(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_gone(pid, mine, port=None):
    """Return when neither process, port nor segment is left; fail if that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while group_of(pid) or segments() & mine or (port is not None and listening(port)):
        assert time.monotonic() < deadline, (group_of(pid), segments() & mine, port)
        time.sleep(0.05)
