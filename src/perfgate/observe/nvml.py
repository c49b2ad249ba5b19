"""GPUs as NVML sees them: what they are, and what they are doing now.

A reading that the GPU or its driver does not give is None, never a zero and never an error: on a
GB10 memory and power limit are missing by design, for its memory is the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import pynvml

from perfgate.errors import MissingRequirementError, ServerError
from perfgate.gpus import Gpu

T = TypeVar("T")

# What NVML answers where a reading does not exist, as opposed to a GPU that is in trouble.
_ABSENT = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND,
)

SLOWDOWNS = {
    "hardware slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "software thermal slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hardware thermal slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}
"""The clock event reasons that are a fault of the machine; a power cap or an idle GPU is not."""


class NvmlLibrary(Protocol):
    """The functions of NVIDIA's `pynvml` module that perfgate calls, under their own names.

    They raise `pynvml.NVMLError`. `perfgate.observe.fake_nvml.FakeNvml` is one for tests.
    """

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlSystemGetCudaDriverVersion(self) -> int: ...
    def nvmlSystemGetProcessName(self, pid: int) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxClockInfo(self, handle: Any, type: int) -> int: ...  # noqa: A002
    def nvmlDeviceGetApplicationsClock(self, handle: Any, type: int) -> int: ...  # noqa: A002
    def nvmlDeviceGetPersistenceMode(self, handle: Any) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetClockInfo(self, handle: Any, type: int) -> int: ...  # noqa: A002
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlGpu(Gpu):
    """A GPU with all that NVML knows of what it is; None is not reported.

    Nothing here changes while a server runs.
    """

    cuda: str | None
    sm_clock_max_mhz: int | None
    application_clock_mhz: int | None
    persistence_mode: bool | None
    memory_bytes: int | None
    power_limit_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that computes on a GPU; a desktop that only draws on it is none."""

    pid: int
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What a GPU is doing; `slowdowns` names the faults that hold its clocks down."""

    utilization: float | None
    sm_clock_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    slowdowns: tuple[str, ...] | None
    pids: tuple[int, ...] | None


class Nvml:
    """NVML, initialised; get one from `open_nvml`.

    Its methods raise ServerError if a GPU stops answering.
    """

    def __init__(self, library: NvmlLibrary) -> None:
        self._library = library

    def gpus(self) -> tuple[NvmlGpu, ...]:
        """Every GPU of this machine, in NVML's order."""
        with _told("list the GPUs"):
            return tuple(self._gpu(index) for index in range(self._library.nvmlDeviceGetCount()))

    def read(self, index: int) -> GpuReading:
        """What the GPU is doing now."""
        nvml = self._library
        with _told(f"read GPU {index}"):
            gpu = nvml.nvmlDeviceGetHandleByIndex(index)
            rates = _known(nvml.nvmlDeviceGetUtilizationRates, gpu)
            reasons = _known(nvml.nvmlDeviceGetCurrentClocksEventReasons, gpu)
            processes = _known(nvml.nvmlDeviceGetComputeRunningProcesses, gpu)
            return GpuReading(
                utilization=None if rates is None else rates.gpu / 100,
                sm_clock_mhz=_known(nvml.nvmlDeviceGetClockInfo, gpu, pynvml.NVML_CLOCK_SM),
                power_w=_scaled(_known(nvml.nvmlDeviceGetPowerUsage, gpu), 1e-3),
                temperature_c=_known(
                    nvml.nvmlDeviceGetTemperature, gpu, pynvml.NVML_TEMPERATURE_GPU
                ),
                slowdowns=None if reasons is None else slowdowns(reasons),
                pids=None if processes is None else tuple(sorted(one.pid for one in processes)),
            )

    def processes(self, index: int) -> tuple[GpuProcess, ...]:
        """The processes that compute on the GPU, by name where it is known."""
        return tuple(
            GpuProcess(pid=pid, name=_known(self._library.nvmlSystemGetProcessName, pid))
            for pid in self.read(index).pids or ()
        )

    def _gpu(self, index: int) -> NvmlGpu:
        nvml = self._library
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        capability = nvml.nvmlDeviceGetCudaComputeCapability(gpu)
        persistence = _known(nvml.nvmlDeviceGetPersistenceMode, gpu)
        memory = _known(nvml.nvmlDeviceGetMemoryInfo, gpu)
        return NvmlGpu(
            index=index,
            name=nvml.nvmlDeviceGetName(gpu),
            uuid=nvml.nvmlDeviceGetUUID(gpu),
            compute_capability=".".join(map(str, capability)),
            driver=nvml.nvmlSystemGetDriverVersion(),
            cuda=_cuda(_known(nvml.nvmlSystemGetCudaDriverVersion)),
            sm_clock_max_mhz=_known(nvml.nvmlDeviceGetMaxClockInfo, gpu, pynvml.NVML_CLOCK_SM),
            application_clock_mhz=_known(
                nvml.nvmlDeviceGetApplicationsClock, gpu, pynvml.NVML_CLOCK_SM
            ),
            persistence_mode=None if persistence is None else bool(persistence),
            memory_bytes=None if memory is None else memory.total,
            power_limit_w=_scaled(_known(nvml.nvmlDeviceGetEnforcedPowerLimit, gpu), 1e-3),
        )


@contextmanager
def open_nvml(library: NvmlLibrary | None = None) -> Iterator[Nvml]:
    """Initialise NVML and shut it down again.

    Raises MissingRequirementError where there is no NVIDIA driver or it does not answer.
    """
    nvml = cast("NvmlLibrary", pynvml) if library is None else library
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError as error:
        msg = f"no NVIDIA driver answers here (NVML: {error}). Does `nvidia-smi` list a GPU?"
        raise MissingRequirementError(msg) from error
    try:
        yield Nvml(nvml)
    finally:
        nvml.nvmlShutdown()


def slowdowns(reasons: int) -> tuple[str, ...]:
    """The faults among NVML's clock event reasons, a bit mask."""
    return tuple(name for name, bit in SLOWDOWNS.items() if reasons & bit)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise ServerError(f"NVML could not {what}: {error}") from error


def _known(call: Callable[..., T], *arguments: object) -> T | None:
    try:
        return call(*arguments)
    except pynvml.NVMLLibraryMismatchError:
        return None  # the driver is older than this call
    except pynvml.NVMLError as error:
        if error.value in _ABSENT:
            return None
        raise


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cuda(version: int | None) -> str | None:
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"
