"""Where numbers come from: what must agree before two runs are compared, and what is told."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from perfgate.model import Engine, Fingerprint, OperatingPoint

_VERSIONED = ("perfgate", "nvidia-pytriton", "tritonclient", "grpcio", "tensorrt-llm")


def fingerprint(point: OperatingPoint, engine: Engine, hardware: str) -> Fingerprint:
    """Fingerprint one measurement.

    The engine and its scheduling are what is under test: a change in them must show as a verdict,
    so they are context. The load and the machine are the yardstick: a change in them makes two
    numbers incomparable, so they are identity.
    """
    load = point.workload
    return Fingerprint(
        hardware=hardware,
        target=engine.target,
        simulated=engine.simulated,
        identity={
            "hardware": hardware,
            "target": engine.target,
            "concurrency": str(load.concurrency),
            "isl": str(load.isl),
            "osl": str(load.osl),
        },
        context={
            "engine": engine.digest,
            "engine_name": engine.spec.name,
            **{f"version.{name}": version for name, version in versions().items()},
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": str(os.cpu_count()),
            "kernel": platform.release(),
        },
    )


def versions() -> dict[str, str]:
    """Versions of the installed packages that may change a number."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit(root: Path) -> str:
    """The commit checked out at `root`, marked `-dirty` where files differ from it; else ''."""
    try:
        return subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (subprocess.SubprocessError, OSError):
        return ""


def wall_clock() -> str:
    """The time of day for people, to the second, in UTC; never used in arithmetic."""
    return datetime.now(UTC).isoformat(timespec="seconds")
