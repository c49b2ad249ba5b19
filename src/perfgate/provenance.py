"""Where numbers come from: what must agree before two runs are compared, and what is told."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from perfgate import codec
from perfgate.engines.site import ORIGIN_FILE, read_origin
from perfgate.model import Engine, Fingerprint, OperatingPoint, Protocol, Workload
from perfgate.observe.nvml import NvmlGpu
from perfgate.observe.surroundings import CONTAINER_VARIABLE
from perfgate.targets import HARDWARE_TARGETS
from perfgate.trtllm import Runner

_VERSIONED = (
    *("perfgate", "nvidia-pytriton", "tritonclient", "grpcio"),
    *("tensorrt-llm", "tensorrt", "torch", "nvidia-modelopt"),
)
# What NVIDIA's containers say of themselves.
_DECLARED = {
    "version.tritonserver": "TRITON_SERVER_VERSION",
    "version.nvidia-container": "NVIDIA_TRITON_SERVER_VERSION",
}
_NOT_REPORTED = "not reported"


def fingerprint(
    point: OperatingPoint,
    engine: Engine,
    hardware: str,
    gpu: NvmlGpu | None = None,
    protocol: Protocol = Protocol.GRPC,
) -> Fingerprint:
    """Fingerprint one measurement; `gpu` is the one that serves, None where none does or is known.

    The engine, its scheduling and the software that builds and serves it are what is under test: a
    change in them must show as a verdict, so they are context. The load and the machine, down to
    its driver and clocks, are the yardstick: a change in them makes two numbers incomparable, so
    they are identity.
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
            "workload": workload_digest(load),
            # Said only of the others: what was recorded before there were any stays comparable.
            **({} if protocol is Protocol.GRPC else {"protocol": str(protocol)}),
            **(gpu_identity(gpu) if gpu else {}),
        },
        context={
            "engine": engine.digest,
            "engine_name": engine.spec.name,
            "container": os.environ.get(CONTAINER_VARIABLE, ""),
            **{f"version.{name}": version for name, version in versions().items()},
            **{name: os.environ[key] for name, key in _DECLARED.items() if key in os.environ},
            **_contained(engine),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": str(os.cpu_count()),
            "kernel": platform.release(),
        },
    )


def _contained(engine: Engine) -> dict[str, str]:
    """The pinned container and its versions, where it serves; this process is not inside of it."""
    if engine.target not in HARDWARE_TARGETS or not (engine.directory / ORIGIN_FILE).is_file():
        return {}
    origin = read_origin(engine.directory)
    if origin.runner is not Runner.DOCKER:
        return {}
    return {
        "container": origin.container,
        "version.tensorrt-llm": origin.tensorrt_llm,
        "version.nvidia-container": origin.tritonserver,
    }


def gpu_identity(gpu: NvmlGpu) -> dict[str, str]:
    """What of the GPU and of how it is run may change a number and is not under test."""
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "sm_clock_max": _quantity(gpu.sm_clock_max_mhz, "MHz"),
        "application_clock": _quantity(gpu.application_clock_mhz, "MHz"),
        "power_limit": _quantity(gpu.power_limit_w, "W"),
    }


def workload_digest(load: Workload) -> str:
    """Name the whole load, the seed of its prompts too, in twelve hexadecimal digits.

    A part that a load does not have is left out, so that a new kind of part renames no other load.
    """
    parts = {field.name: getattr(load, field.name) for field in dataclasses.fields(load)}
    had = {name: part for name, part in parts.items() if part not in (None, ())}
    return hashlib.sha256(codec.to_json(had)).hexdigest()[:12]


def _quantity(value: float | None, unit: str) -> str:
    return _NOT_REPORTED if value is None else f"{value:.0f} {unit}"


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
