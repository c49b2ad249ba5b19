"""Which target runs here, and what the others lack."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from dataclasses import dataclass

from perfgate.errors import MissingRequirementError, UsageError
from perfgate.model import Target

AUTO = "auto"
HARDWARE_TARGETS = (Target.TRT_ENGINE, Target.LLMAPI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of the things a target needs was found on this machine; None means not found."""

    gpu: str | None
    tensorrt_llm: str | None
    trtllm_build: str | None
    tritonserver: str | None
    triton_wheel: str | None
    docker: str | None = None
    torch: str | None = None


def look() -> Machine:
    """Look at this machine; runs `nvidia-smi -L` where there is one, starts nothing else."""
    return Machine(
        gpu=_first_gpu(),
        tensorrt_llm=_version("tensorrt-llm"),
        trtllm_build=shutil.which("trtllm-build"),
        tritonserver=shutil.which("tritonserver", path="/opt/tritonserver/bin")
        or shutil.which("tritonserver"),
        triton_wheel=_version("nvidia-pytriton"),
        docker=shutil.which("docker"),
        torch=_version("torch"),
    )


def choose(
    requested: str,
    machine: Machine,
    *,
    url: str | None,
    require_hardware: bool,
    in_container: bool = False,
) -> Target:
    """The target to run: what was asked for, or with `auto` hardware where it is complete.

    `in_container` says that tools and server run in the pinned container, not on the machine.
    Raises UsageError for a name or combination that cannot be, and MissingRequirementError with
    what is missing and how to get it if this machine cannot run the chosen target.
    """
    if requested == AUTO:
        target = _automatic(
            machine, url=url, require_hardware=require_hardware, in_container=in_container
        )
    else:
        target = named_target(requested)
    if require_hardware and target is Target.SIM:
        rule = "--require-hardware was given and the simulated target is no hardware"
        raise UsageError("--target", requested, rule)
    if require_hardware and target is Target.REFERENCE and machine.gpu is None:
        rule = "--require-hardware was given and the reference engine would run on the CPU"
        raise UsageError("--target", requested, rule)
    if (target is Target.REMOTE) != (url is not None):
        raise UsageError("--triton-url", url, "it goes with --target remote, and only with it")
    missing = lacks(target, machine, in_container=in_container)
    if missing:
        lines = "\n".join(f"  - {line}" for line in missing)
        raise MissingRequirementError(f"target {target} cannot run on this machine:\n{lines}")
    return target


def lacks(target: Target, machine: Machine, *, in_container: bool = False) -> tuple[str, ...]:
    """What `target` needs and `machine` does not have, each with how to get it."""
    needs = _needs(target, machine, in_container=in_container)
    return tuple(advice for found, advice in needs if found is None)


def _needs(
    target: Target, machine: Machine, *, in_container: bool
) -> tuple[tuple[str | None, str], ...]:
    gpu = (machine.gpu, "an NVIDIA GPU: `nvidia-smi -L` must list one")
    server = (
        machine.tritonserver,
        "tritonserver: run inside an NVIDIA Triton container with TensorRT-LLM",
    )
    docker = (machine.docker, 'docker: trtllm.toml says runner = "docker"')
    match target:
        case Target.TRT_ENGINE | Target.LLMAPI if in_container:
            return (gpu, docker)
        case Target.SIM:
            return ((machine.triton_wheel, "the Triton wheel: pip install 'perfgate[sim]'"),)
        case Target.REFERENCE:
            wheel = (machine.triton_wheel, "the Triton wheel: pip install 'perfgate[sim]'")
            return (wheel, (machine.torch, "PyTorch: pip install 'perfgate[reference]'"))
        case Target.TRT_ENGINE:
            build = (
                machine.trtllm_build,
                "trtllm-build: it comes with TensorRT-LLM up to 1.2.x, later ones dropped it",
            )
            return (gpu, server, build)
        case Target.LLMAPI:
            library = (machine.tensorrt_llm, "TensorRT-LLM: pip install 'perfgate[trtllm]'")
            return (gpu, server, library)
        case Target.REMOTE:
            return ()


def _automatic(
    machine: Machine, *, url: str | None, require_hardware: bool, in_container: bool
) -> Target:
    if url is not None:
        return Target.REMOTE
    for target in HARDWARE_TARGETS:
        if not lacks(target, machine, in_container=in_container):
            return target
    return HARDWARE_TARGETS[0] if require_hardware else Target.SIM


def named_target(requested: str) -> Target:
    """The target of that name; UsageError listing the known ones if there is none."""
    try:
        return Target(requested)
    except ValueError as error:
        known = ", ".join((AUTO, *Target))
        raise UsageError("--target", requested, f"it must be one of {known}") from error


def _first_gpu() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        listing = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (subprocess.SubprocessError, OSError):
        return None  # a driver that does not answer is a GPU we cannot use
    return next((line for line in listing.splitlines() if line.startswith("GPU ")), None)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
