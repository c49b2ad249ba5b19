"""What a machine is, beyond the parts a target asks for: GPUs, memory, container, profiler."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perfgate.errors import MissingRequirementError, PerfGateError
from perfgate.observe.nvml import (
    GpuProcess,
    GpuReading,
    Nvml,
    NvmlGpu,
    NvmlLibrary,
    open_nvml,
)
from perfgate.serving.triton import find_triton

CONTAINER_VARIABLE = "PERFGATE_CONTAINER"
"""Names the image a run is inside of, best by digest: no process can find that out from within."""

_RUNTIMES = ("docker", "podman")
_TOOLKIT = "nvidia-container-cli"
_ANSWER_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The machine's memory; on a GB10 it is the GPU's too."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGpu:
    """A GPU, what it is doing, and who computes on it."""

    gpu: NvmlGpu
    reading: GpuReading
    processes: tuple[GpuProcess, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What runs containers here, and the one we are in; None is not there or not known."""

    runtime: str | None
    nvidia_toolkit: str | None
    inside: bool
    image: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What was found here; `no_gpus` says why `gpus` is empty.

    `wheel_problem` says why the installed Triton wheel would not start; empty if it would.
    """

    system: str
    python: str
    gpus: tuple[SeenGpu, ...]
    no_gpus: str
    memory: Memory | None
    container: Container
    nsys: str | None
    wheel_problem: str = ""


def look_around(library: NvmlLibrary | None = None) -> Surroundings:
    """Look at this machine; asks the container runtime for its version, starts nothing else."""
    gpus, no_gpus = look_at_gpus(library)
    return Surroundings(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        gpus=gpus,
        no_gpus=no_gpus,
        memory=look_at_memory(),
        container=look_at_container(os.environ),
        nsys=shutil.which("nsys"),
        wheel_problem=_wheel_problem(),
    )


def look_at_gpus(library: NvmlLibrary | None = None) -> tuple[tuple[SeenGpu, ...], str]:
    """The GPUs of this machine, or why there are none to be seen."""
    try:
        with open_nvml(library) as nvml:
            seen = tuple(_seen(nvml, gpu) for gpu in nvml.gpus())
    except PerfGateError as error:
        return (), str(error)
    return seen, "" if seen else "the NVIDIA driver lists no GPU"


def look_at_memory(path: Path = Path("/proc/meminfo")) -> Memory | None:
    """The machine's memory; None where the kernel does not say."""
    try:
        return parse_meminfo(path.read_text(encoding="ascii"))
    except OSError:
        return None


def parse_meminfo(text: str) -> Memory | None:
    """Read `/proc/meminfo`, whose kB are 1024 bytes; None if either number is missing."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    if not {"MemTotal", "MemAvailable"} <= fields.keys():
        return None
    return Memory(
        total_bytes=int(fields["MemTotal"]) * 1024,
        available_bytes=int(fields["MemAvailable"]) * 1024,
    )


def look_at_container(
    environment: Mapping[str, str],
    *,
    which: Callable[[str], str | None] = shutil.which,
    root: Path = Path("/"),
) -> Container:
    """What runs containers here, and whether we are in one."""
    runtimes = (path for name in _RUNTIMES if (path := which(name)))
    return Container(
        runtime=next((described for path in runtimes if (described := _described(path))), None),
        nvidia_toolkit=which(_TOOLKIT),
        inside=any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")),
        image=environment.get(CONTAINER_VARIABLE) or None,
    )


def _wheel_problem() -> str:
    try:
        find_triton()
    except MissingRequirementError as error:
        return str(error)
    return ""


def _seen(nvml: Nvml, gpu: NvmlGpu) -> SeenGpu:
    return SeenGpu(gpu=gpu, reading=nvml.read(gpu.index), processes=nvml.processes(gpu.index))


def _described(program: str) -> str | None:
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT_S,
            check=True,
        ).stdout
    except (subprocess.SubprocessError, OSError):
        return None  # a runtime that does not answer runs no container
    return f"{answer.strip()} ({program})"
