"""A GPU that is not there: the public fake of NVML, for tests on machines without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pynvml


class _Rates(NamedTuple):
    gpu: int
    memory: int


class _Memory(NamedTuple):
    total: int
    free: int
    used: int


class _Process(NamedTuple):
    pid: int
    usedGpuMemory: int | None  # noqa: N815 - NVML's own name


@dataclass(slots=True, kw_only=True)
class FakeGpu:
    """One GPU in NVML's own units; a reading that is None is not supported, as on a real one.

    Assign to a field to change what is read next.
    """

    name: str
    compute_capability: tuple[int, int]
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    sm_clock_max_mhz: int | None = None
    application_clock_mhz: int | None = None
    persistence_mode: int | None = 1
    memory_bytes: int | None = None
    power_limit_mw: int | None = None
    utilization_percent: int | None = 0
    sm_clock_mhz: int | None = None
    power_mw: int | None = None
    temperature_c: int | None = None
    event_reasons: int | None = 0
    pids: Sequence[int] | None = ()
    lost: bool = False


def gb10() -> FakeGpu:
    """A GB10: its memory is the CPU's, so that NVML has no reading of it; nor a power limit."""
    return FakeGpu(
        name="NVIDIA GB10",
        compute_capability=(12, 1),
        sm_clock_max_mhz=3003,
        sm_clock_mhz=2411,
        power_mw=38_500,
        temperature_c=61,
        utilization_percent=96,
    )


def h100() -> FakeGpu:
    """An H100, which reports everything."""
    return FakeGpu(
        name="NVIDIA H100 80GB HBM3",
        compute_capability=(9, 0),
        sm_clock_max_mhz=1980,
        application_clock_mhz=1980,
        memory_bytes=85_520_809_984,
        power_limit_mw=700_000,
        sm_clock_mhz=1980,
        power_mw=412_000,
        temperature_c=54,
        utilization_percent=99,
    )


@dataclass(slots=True, kw_only=True)
class FakeNvml:
    """Stands for the `pynvml` module; without `gpus` it is a machine without a driver."""

    gpus: Sequence[FakeGpu] = ()
    driver: str = "580.95.05"
    cuda: int = 13_000
    process_names: Mapping[int, str] = field(default_factory=dict)
    opened: int = 0

    def nvmlInit(self) -> None:
        if not self.gpus:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        if pid not in self.process_names:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.process_names[pid]

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        gpu = self.gpus[index]
        if gpu.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return gpu

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return handle.name

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> str:
        return handle.uuid

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return handle.compute_capability

    def nvmlDeviceGetMaxClockInfo(self, handle: FakeGpu, type: int) -> int:  # noqa: A002, ARG002
        return _supported(handle.sm_clock_max_mhz)

    def nvmlDeviceGetApplicationsClock(self, handle: FakeGpu, type: int) -> int:  # noqa: A002, ARG002
        return _supported(handle.application_clock_mhz)

    def nvmlDeviceGetPersistenceMode(self, handle: FakeGpu) -> int:
        return _supported(handle.persistence_mode)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeGpu) -> int:
        return _supported(handle.power_limit_mw)

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> _Memory:
        total = _supported(handle.memory_bytes)
        return _Memory(total, total, 0)

    def nvmlDeviceGetClockInfo(self, handle: FakeGpu, type: int) -> int:  # noqa: A002, ARG002
        return _supported(handle.sm_clock_mhz)

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> _Rates:
        return _Rates(_supported(handle.utilization_percent), 0)

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        return _supported(handle.power_mw)

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:  # noqa: ARG002
        return _supported(handle.temperature_c)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: FakeGpu) -> int:
        return _supported(handle.event_reasons)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeGpu) -> list[_Process]:
        if handle.pids is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [_Process(pid, None) for pid in handle.pids]


def _supported(value: int | None) -> int:
    if value is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return value
