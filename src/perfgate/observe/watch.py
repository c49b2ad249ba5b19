"""Telemetry of a load: the server's metrics and, on GPU targets, NVML, beside the run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from perfgate.errors import PerfGateError, ServerError
from perfgate.gpus import VISIBLE, visible
from perfgate.model import GpuSample, Server, ServerSample, Target, Telemetry
from perfgate.observe.gauges import server_sample
from perfgate.observe.nvml import Nvml, NvmlGpu, NvmlLibrary, open_nvml
from perfgate.observe.sampling import Pace, sampling
from perfgate.serving.metrics import scrape
from perfgate.targets import HARDWARE_TARGETS

PERIOD_S = 1.0
"""The load client looks at its own lateness every 5 ms: a sample a second can spoil one look in 200
and so cannot move its P99. At five a second it did, on two busy cores."""

_SCRAPE_TIMEOUT_S = 1.0


class GpuWatch:
    """One GPU, looked at before its server boots, so that the server's own processes are known."""

    def __init__(self, nvml: Nvml, gpu: NvmlGpu) -> None:
        self._nvml = nvml
        self.gpu = gpu
        self.names: dict[str, str] = {}
        self.pids_before = self.pids()

    def sample(self, at_ns: int) -> GpuSample:
        """The GPU now; ServerError if it stopped answering."""
        reading = self._nvml.read(self.gpu.index)
        self._name(reading.pids or ())
        return GpuSample(
            at_ns=at_ns,
            utilization=reading.utilization,
            sm_clock_mhz=reading.sm_clock_mhz,
            power_w=reading.power_w,
            temperature_c=reading.temperature_c,
            slowdowns=reading.slowdowns,
            pids=reading.pids,
        )

    def pids(self) -> tuple[int, ...]:
        """The processes that compute on the GPU now."""
        pids = self._nvml.read(self.gpu.index).pids or ()
        self._name(pids)
        return pids

    def _name(self, pids: Sequence[int]) -> None:
        if any(str(pid) not in self.names for pid in pids):  # asked for once, while it lives
            for process in self._nvml.processes(self.gpu.index):
                self.names.setdefault(str(process.pid), process.name or "")


class Watcher:
    """Watches the loads of one server; made before the server boots, closed after it stopped.

    A GPU that cannot be watched is told in the telemetry, never an error: the numbers stand
    without it.
    """

    def __init__(
        self,
        target: Target,
        *,
        library: NvmlLibrary | None = None,
        environment: Mapping[str, str] = os.environ,
        period_s: float = PERIOD_S,
    ) -> None:
        self._stack = ExitStack()
        self._period_s = period_s
        self._gpu: GpuWatch | None = None
        self._fault = ""
        if target in HARDWARE_TARGETS:
            try:
                nvml = self._stack.enter_context(open_nvml(library))
                self._gpu = GpuWatch(nvml, served_gpu(nvml.gpus(), environment))
            except PerfGateError as error:
                self._fault = f"the GPU was not watched: {error}"

    @property
    def gpu(self) -> NvmlGpu | None:
        """The GPU that is watched."""
        return self._gpu.gpu if self._gpu else None

    def close(self) -> None:
        """Let go of NVML."""
        self._stack.close()

    @contextmanager
    def watch(self, server: Server) -> Iterator[Callable[[], Telemetry]]:
        """Sample while the block runs; what is yielded gives the telemetry after it."""
        samples = _Samples(server, self._gpu)
        at_start = samples.pids_at_start()
        with sampling(samples.take, period_s=self._period_s) as pace:
            yield lambda: self._telemetry(samples, at_start, pace)

    def _telemetry(self, samples: _Samples, at_start: tuple[int, ...], pace: Pace) -> Telemetry:
        gpu = self._gpu
        return Telemetry(
            period_s=self._period_s,
            gpu=tuple(samples.gpu),
            server=tuple(samples.server),
            sm_clock_max_mhz=gpu.gpu.sm_clock_max_mhz if gpu else None,
            pids_before=gpu.pids_before if gpu else (),
            pids_at_start=at_start,
            process_names=dict(gpu.names) if gpu else {},
            skipped=pace.skipped,
            faults=tuple(fault for fault in (self._fault, *samples.faults.values()) if fault),
        )


class _Samples:
    """What one load's thread gathers."""

    def __init__(self, server: Server, gpu: GpuWatch | None) -> None:
        self._url = server.metrics_url
        self._watched = gpu
        self.gpu: list[GpuSample] = []
        self.server: list[ServerSample] = []
        self.faults: dict[str, str] = {}

    def pids_at_start(self) -> tuple[int, ...]:
        """Who computes on the GPU before the first request."""
        try:
            return self._watched.pids() if self._watched else ()
        except ServerError as error:
            self.faults["gpu"] = f"the GPU was not watched all the time: {error}"
            return ()

    def take(self) -> None:
        """Look once at everything; what fails is told once, by its first message."""
        try:
            metrics = scrape(self._url, timeout_s=_SCRAPE_TIMEOUT_S)
            self.server.append(server_sample(metrics, at_ns=time.perf_counter_ns()))
        except ServerError as error:
            self.faults.setdefault("server", f"the server was not watched all the time: {error}")
        if self._watched is None:
            return
        try:
            self.gpu.append(self._watched.sample(time.perf_counter_ns()))
        except ServerError as error:
            self.faults.setdefault("gpu", f"the GPU was not watched all the time: {error}")


def served_gpu(gpus: Sequence[NvmlGpu], environment: Mapping[str, str]) -> NvmlGpu:
    """The GPU a server started from here computes on: the first that CUDA may see.

    Raises ServerError if there is no such GPU.
    """
    setting = environment.get(VISIBLE)
    for gpu in visible(gpus, setting):
        return gpu
    raise ServerError(f"no GPU {setting or 'none'!r} ({VISIBLE}) among {len(gpus)}")
