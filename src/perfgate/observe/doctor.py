"""What this machine can measure: pure, from what was found to a diagnosis and its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perfgate.errors import PerfGateError
from perfgate.model import Target
from perfgate.observe.nvml import GpuReading, NvmlGpu
from perfgate.observe.surroundings import Container, SeenGpu, Surroundings
from perfgate.targets import AUTO, Machine, choose, lacks

_GIB = 1 << 30
_WIDTH = 12
_NOT_REPORTED = "not reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One target and what it lacks here, each line with how to get it; nothing if it can run."""

    target: Target
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is here, what each target lacks, and what `--target auto` would run.

    `auto` is None if nothing can run; `unreported` names, by GPU index, what it does not report.
    """

    perfgate: str
    surroundings: Surroundings
    machine: Machine
    targets: tuple[TargetState, ...]
    auto: Target | None
    unreported: dict[str, tuple[str, ...]]


def diagnose(
    machine: Machine, surroundings: Surroundings, *, version: str, in_container: bool = False
) -> Diagnosis:
    """Say what can run on a machine, with tools and server in a container of their own or not."""
    return Diagnosis(
        perfgate=version,
        surroundings=surroundings,
        machine=machine,
        targets=tuple(
            TargetState(
                target=one, lacks=_lacks(one, machine, surroundings, in_container=in_container)
            )
            for one in Target
        ),
        auto=_automatic(machine, surroundings, in_container=in_container),
        unreported={str(seen.gpu.index): _unreported(seen) for seen in surroundings.gpus},
    )


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """The diagnosis for people, one fact a line, ending with a newline."""
    around, machine = diagnosis.surroundings, diagnosis.machine
    lines = [
        _line("perfgate", f"{diagnosis.perfgate}, Python {around.python}, {around.system}"),
        *(line for seen in around.gpus for line in _gpu_lines(seen, diagnosis)),
        *([] if around.gpus else [_line("GPU", f"none: {around.no_gpus}")]),
        _line("memory", _memory(around)),
        _line("TensorRT-LLM", machine.tensorrt_llm or "not installed"),
        _line("trtllm-build", machine.trtllm_build or "not found"),
        _line("Triton", _triton(machine)),
        _line("container", _container(around.container)),
        _line("nsys", around.nsys or "not found: `perfgate profile` needs Nsight Systems"),
        "",
        *(line for state in diagnosis.targets for line in _target_lines(state)),
        "",
        _auto(diagnosis.auto),
    ]
    return "\n".join(lines) + "\n"


def _lacks(
    target: Target, machine: Machine, around: Surroundings, *, in_container: bool
) -> tuple[str, ...]:
    broken = target is Target.SIM and machine.triton_wheel and around.wheel_problem
    return (around.wheel_problem,) if broken else lacks(target, machine, in_container=in_container)


def _automatic(machine: Machine, around: Surroundings, *, in_container: bool) -> Target | None:
    try:
        target = choose(AUTO, machine, url=None, require_hardware=False, in_container=in_container)
    except PerfGateError:
        return None
    return None if _lacks(target, machine, around, in_container=in_container) else target


def _unreported(seen: SeenGpu) -> tuple[str, ...]:
    gpu, reading = seen.gpu, seen.reading
    readings: dict[str, object] = {
        "memory": gpu.memory_bytes,
        "power limit": gpu.power_limit_w,
        "highest SM clock": gpu.sm_clock_max_mhz,
        "SM clock": reading.sm_clock_mhz,
        "power": reading.power_w,
        "temperature": reading.temperature_c,
        "utilisation": reading.utilization,
        "slowdowns": reading.slowdowns,
        "processes": reading.pids,
    }
    return tuple(name for name, value in readings.items() if value is None)


def _gpu_lines(seen: SeenGpu, diagnosis: Diagnosis) -> Iterator[str]:
    gpu = seen.gpu
    cuda = f", CUDA {gpu.cuda}" if gpu.cuda else ""
    yield _line(
        f"GPU {gpu.index}",
        f"{gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}{cuda}",
    )
    yield _line("", _doing(gpu, seen.reading))
    missing = diagnosis.unreported[str(gpu.index)]
    if missing:
        yield _line("", f"{_NOT_REPORTED}: {', '.join(missing)}{_why_missing(gpu, missing)}")
    if seen.reading.slowdowns:
        yield _line("", f"held down now by: {', '.join(seen.reading.slowdowns)}")
    named = [f"{one.pid} {one.name or '(unknown)'}" for one in seen.processes]
    if named:
        yield _line("", f"in use by: {', '.join(named)}; a run beside them is vetoed")


def _doing(gpu: NvmlGpu, reading: GpuReading) -> str:
    facts = (
        (reading.sm_clock_mhz, f"SM clock {reading.sm_clock_mhz} MHz"),
        (gpu.sm_clock_max_mhz, f"at most {gpu.sm_clock_max_mhz} MHz"),
        (reading.power_w, f"{reading.power_w or 0:.0f} W"),
        (gpu.power_limit_w, f"limit {gpu.power_limit_w or 0:.0f} W"),
        (reading.temperature_c, f"{reading.temperature_c} °C"),
        (reading.utilization, f"{reading.utilization or 0:.0%} busy"),
        (gpu.memory_bytes, f"{(gpu.memory_bytes or 0) / _GIB:.0f} GiB of its own"),
    )
    return ", ".join(text for value, text in facts if value is not None) or _NOT_REPORTED


def _why_missing(gpu: NvmlGpu, missing: tuple[str, ...]) -> str:
    if "GB10" in gpu.name and set(missing) <= {"memory", "power limit"}:
        return " (normal on a GB10: its memory is the machine's)"
    return ""


def _memory(around: Surroundings) -> str:
    if around.memory is None:
        return "unknown: /proc/meminfo does not say"
    total, available = around.memory.total_bytes / _GIB, around.memory.available_bytes / _GIB
    return f"{total:.1f} GiB, {available:.1f} GiB available"


def _triton(machine: Machine) -> str:
    wheel = machine.triton_wheel
    found = [machine.tritonserver, f"wheel nvidia-pytriton {wheel}" if wheel else None]
    return ", ".join(one for one in found if one) or "not found"


def _container(container: Container) -> str:
    toolkit = "with" if container.nvidia_toolkit else "without"
    runtime = container.runtime and f"{container.runtime}, {toolkit} the NVIDIA toolkit"
    inside = f"inside {container.image or 'a container'}" if container.inside else ""
    return ", ".join(one for one in (inside, runtime or "no runtime") if one)


def _target_lines(state: TargetState) -> Iterator[str]:
    if state.lacks:
        yield _line(state.target, "cannot run here, it lacks")
        yield from (f"{'':{_WIDTH}} - {line}" for line in state.lacks)
    elif state.target is Target.REMOTE:
        yield _line(state.target, "can run: name the server with --triton-url")
    else:
        yield _line(state.target, "can run")


def _auto(auto: Target | None) -> str:
    if auto is None:
        return "`pytest -m perf` would refuse to run: no target is complete."
    kind = ", simulated" if auto is Target.SIM else ""
    return f"`pytest -m perf` would run: {auto}{kind}."


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}} {text}".rstrip()
