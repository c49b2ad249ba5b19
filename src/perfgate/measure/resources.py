"""What server and GPU did over the steady window: the telemetry in few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TypeVar

from perfgate.measure.window import Window
from perfgate.model import GpuSample, ResourceUse, ServerSample, Telemetry

S = TypeVar("S", GpuSample, ServerSample)


def resource_use(telemetry: Telemetry | None, window: Window) -> ResourceUse | None:
    """Summarise the samples that lie in the window; None if there is none."""
    if telemetry is None:
        return None
    gpu, server = inside(telemetry.gpu, window), inside(telemetry.server, window)
    if not gpu and not server:
        return None
    # NVML's own reading where there is one, else what the server says of its GPU.
    busy = _known(one.utilization for one in gpu) or _known(one.gpu_utilization for one in server)
    return ResourceUse(
        samples=max(len(gpu), len(server)),
        kv_cache_peak=max(_known(one.kv_cache for one in server), default=None),
        active_mean=_mean(_known(one.active for one in server)),
        waiting_mean=_mean(_known(one.waiting for one in server)),
        gpu_utilization_mean=_mean(busy),
        sm_clock_mean_mhz=_mean(_known(one.sm_clock_mhz for one in gpu)),
        power_mean_w=_mean(_known(one.power_w for one in gpu)),
        temperature_max_c=max(_known(one.temperature_c for one in gpu), default=None),
    )


def inside(samples: Sequence[S], window: Window) -> tuple[S, ...]:
    """The samples taken in the window."""
    return tuple(one for one in samples if window.start_ns < one.at_ns <= window.end_ns)


def telemetry_notes(telemetry: Telemetry | None) -> tuple[str, ...]:
    """What could not be watched, for the reader of the measurement."""
    return telemetry.faults if telemetry else ()


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
