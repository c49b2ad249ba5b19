"""The test rig: from an operating point to its measurement, one server at a time."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol, Self

from perfgate.dilation import dilation_of, in_engine_time
from perfgate.engines.build import build
from perfgate.engines.site import Site
from perfgate.errors import LoadError, PerfGateError, ServerError, UsageError
from perfgate.gpus import VISIBLE, claim, list_gpus, visible
from perfgate.load.fleet import Crew, here
from perfgate.load.planner import prompts_needed
from perfgate.load.running import LoadOutcome, RunningLoad
from perfgate.load.shards import CPU_S_PER_TOKEN, workers_needed
from perfgate.measure.stopping import goes_on
from perfgate.model import (
    ClientAudit,
    Engine,
    EngineSpec,
    Fingerprint,
    LoadRun,
    Measurement,
    OperatingPoint,
    Server,
    ServingSpec,
)
from perfgate.observe.nvml import NvmlGpu
from perfgate.observe.watch import Watcher
from perfgate.provenance import fingerprint, wall_clock
from perfgate.recorded import measure_recorded
from perfgate.serving.metrics import active_requests, scrape
from perfgate.serving.process import serve, tokenizer_of
from perfgate.serving.remote import discover
from perfgate.serving.tokenizer import draw_prompts
from perfgate.setting import ENGINES, Setting
from perfgate.targets import HARDWARE_TARGETS
from perfgate.traffic.schedule import plan_schedule, ramp_requests
from perfgate.tries import until_undisturbed
from perfgate.workload_form import trace_rows

DRAIN_S = 120.0
# TensorRT-LLM's backend brings its metrics up to date every 100 ms.
SETTLE_S = 0.3
_POLL_S = 0.1  # an engine's requests are known by asking alone

TimeRounds = Callable[[Callable[[], None], int], object]


class Observer(Protocol):
    """Who is told what the rig does, so that long work is never silent."""

    def begin(self, what: str) -> None:
        """Tell that a step has begun."""

    def advance(self, done: int, total: int) -> None:
        """Tell that `done` of the step's `total` requests have finished."""

    def end(self) -> None:
        """Tell that the step is over."""


@dataclass(frozen=True, slots=True)
class _Serving:
    """A server, and what it was booted for: engine, serving settings, time dilation."""

    wanted: tuple[Engine, ServingSpec, int]
    server: Server
    watcher: Watcher


class Rig:
    """Builds engines, boots servers, drives points; a point is measured once and remembered.

    Use as a context manager: leaving it stops the server, whatever happened. `under` is a command
    line to run servers under, such as a profiler's.
    """

    def __init__(
        self, setting: Setting, observer: Observer, *, under: tuple[str, ...] = ()
    ) -> None:
        self._setting = setting
        self._under = under
        self._observer = observer
        self._measured: dict[str, Measurement] = {}
        self._failed: dict[str, PerfGateError] = {}
        self._audits: dict[str, ClientAudit] = {}
        self._serving: _Serving | None = None
        self._stack = ExitStack()
        self._lifetime = ExitStack()
        self._site: Site | None = None

    def __enter__(self) -> Self:
        """Start no server yet, but join the machines that send load; UsageError without any."""
        if (address := self._setting.suite.load.ray) is not None:
            _ray_workers(address).join(address)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and let go of the GPU."""
        self._stop()
        self._lifetime.close()

    def engine(self, spec: EngineSpec) -> Engine:
        """Build the engine, or take it from the cache."""
        setting = self._setting
        with self._step(f"build {spec.name}") if self._on_hardware else nullcontext():
            return build(
                spec,
                target=setting.target,
                profile=setting.profile,
                cache=setting.cache / ENGINES,
                site=self._claimed_site(),
            )

    @property
    def _on_hardware(self) -> bool:
        return self._setting.target in HARDWARE_TARGETS

    def server(self, point: OperatingPoint) -> Server:
        """The point's server: the one that runs, or else booted now."""
        return self._server_for(point, self.engine(point.engine), 1).server

    @property
    def gpu(self) -> NvmlGpu | None:
        """The GPU of the running server, if one runs and its GPU can be watched."""
        return self._serving.watcher.gpu if self._serving else None

    def fingerprint(self, point: OperatingPoint) -> Fingerprint:
        """What names a measurement of the point; of its GPU once its server runs."""
        remote = self._setting.remote
        protocol = point.protocol if remote is None else remote.protocol
        engine = self.engine(point.engine)
        return fingerprint(point, engine, self._setting.hardware, self.gpu, protocol)

    @property
    def records(self) -> Path:
        """Where the requests of each point are kept."""
        return self._setting.records

    def is_measured(self, point: OperatingPoint) -> bool:
        """Whether `measure` would answer from memory."""
        return point.id in self._measured

    def measure(
        self, point: OperatingPoint, *, time_rounds: TimeRounds | None = None
    ) -> Measurement:
        """Measure the point, or return what was measured before.

        `time_rounds(one_round, rounds)` runs the rounds under somebody else's stopwatch; rounds it
        leaves out are run after it.
        """
        if point.id in self._failed:
            raise self._failed[point.id]
        if point.id not in self._measured:
            try:
                self._measured[point.id] = until_undisturbed(
                    self._setting.target, partial(self._measure, point, time_rounds)
                )
            except PerfGateError as error:
                self._failed[point.id] = error  # asking again would cost minutes for the same
                raise
        return self._measured[point.id]

    def _measure(
        self, point: OperatingPoint, time_rounds: TimeRounds | None, dilation: int
    ) -> Measurement:
        run = self._drive(point, time_rounds, dilation)
        if run.audit is not None:
            self._audits[point.id] = run.audit
        return measure_recorded(run, self._setting.suite.policy, self.records)

    def _drive(
        self, point: OperatingPoint, time_rounds: TimeRounds | None, dilation: int
    ) -> LoadRun:
        engine = self.engine(point.engine)
        serving = self._server_for(point, engine, dilation)
        server, watcher = serving.server, serving.watcher
        if self._setting.remote is None:
            server = replace(server, protocol=point.protocol)
        before = self._scrape_idle(server)
        # As the server says: that of an older perfgate knows nothing of it, and runs in real time.
        told = dilation_of(before)
        started_at = wall_clock()
        with watcher.watch(server) as watched:
            outcome = self._load(point, engine, server, time_rounds or _run_rounds, told)
        after, gone = ({}, ()) if outcome.faults else self._scrape_after(server)
        run = LoadRun(
            point=point,
            fingerprint=fingerprint(
                point, engine, self._setting.hardware, watcher.gpu, server.protocol
            ),
            started_at=started_at,
            marks_ns=outcome.marks_ns,
            records=outcome.records,
            audit=outcome.audit,
            server_before=before,
            server_after=after,
            telemetry=watched(),
            faults=(*outcome.faults, *gone),
        )
        return in_engine_time(run, told)

    def _scrape_idle(self, server: Server) -> dict[str, float]:
        """The server's metrics, once the engine has done what an earlier load left it.

        A client that leaves ends its own stream only: Triton's ensembles do not pass a cancellation
        on to the engine, which goes on to the last token.
        """
        metrics = self._scrape(server)
        if not active_requests(metrics):
            return metrics
        deadline = time.monotonic() + DRAIN_S
        with self._step("let the engine finish the load before"):
            while active_requests(metrics := self._scrape(server)):
                if time.monotonic() > deadline:
                    self._stop()
                    msg = f"the engine was still busy {DRAIN_S:g} s after the load before"
                    raise ServerError(msg)
                time.sleep(_POLL_S)  # only asking tells
        return metrics

    def _scrape(self, server: Server) -> dict[str, float]:
        try:
            return scrape(server.metrics_url)
        except ServerError:
            if self._setting.remote is not None:
                return {}  # somebody else's server need not show its metrics to us
            self._stop()  # it died: this point cannot be measured, the next gets a fresh server
            raise

    def _scrape_after(self, server: Server) -> tuple[dict[str, float], tuple[str, ...]]:
        time.sleep(SETTLE_S)  # for its next update, of which nothing tells
        try:
            return self._scrape(server), ()
        except ServerError as error:
            return {}, (f"the server was gone after the load: {error}",)

    def _claimed_site(self) -> Site | None:
        """Where hardware targets build, with a GPU that is ours until the rig is left."""
        config = self._setting.trtllm
        if self._site is None and config is not None and self._on_hardware:
            gpus = visible(list_gpus(), os.environ.get(VISIBLE))
            gpu = self._lifetime.enter_context(claim(gpus))
            self._site = Site.at(self._setting.home, config, gpu)
        return self._site

    def _server_for(self, point: OperatingPoint, engine: Engine, dilation: int) -> _Serving:
        wanted = (engine, point.serving, dilation)
        if self._serving is None or self._serving.wanted != wanted:
            self._stop()
            watcher = Watcher(engine.target)  # before the boot: what comes with it is the server's
            self._stack.callback(watcher.close)
            remote = self._setting.remote
            if remote is not None:
                server = discover(remote)
            else:
                with self._step(f"boot Triton with {engine.spec.name}"):
                    server = self._stack.enter_context(
                        serve(
                            engine,
                            point.serving,
                            workdir=self._fresh_folder(),
                            sources=self._setting.sources,
                            under=self._under,
                            time_dilation=dilation,
                        )
                    )
            self._serving = _Serving(wanted, server, watcher)
        return self._serving

    def _load(
        self,
        point: OperatingPoint,
        engine: Engine,
        server: Server,
        time_rounds: TimeRounds,
        dilation: int,
    ) -> LoadOutcome:
        """Drive the load; if it breaks, what was recorded until then is kept with the faults."""
        sampling, workload = point.sampling, point.workload
        schedule = plan_schedule(
            workload,
            prompts_needed(workload, sampling),
            trace_rows(workload, self._setting.suite.root),
        )
        texts = draw_prompts(
            tokenizer_of(engine, self._setting.model_folder(point.engine)),
            schedule.isl,
            seed=workload.seed,
            turns=workload.turns,
            prefix=workload.prefix,
        )
        with (
            self._step(f"measure {point.id}"),
            RunningLoad(
                server,
                workload,
                texts,
                spool=self.records,
                schedule=schedule,
                ramp=ramp_requests(workload, sampling),
                crew=self._crew(point),
                on_progress=self._observer.advance,
                time_dilation=dilation,
            ) as load,
        ):
            rates: list[float] = []

            def one_round() -> None:
                rates.append(load.round(sampling.round_requests, sampling.round_seconds))

            try:
                load.ramp_up()
                time_rounds(one_round, sampling.rounds)
                while goes_on(sampling, rates):
                    one_round()
            except LoadError:
                self._stop()  # whatever broke, the next point gets a fresh server
            return load.finish()

    def _crew(self, point: OperatingPoint) -> Crew:
        """Who sends the load: whom the suite names, else as many workers as it is seen to take.

        What a token costs is known from the loads before, how many there will be from this point's
        first try, else from what it is claimed to reach.
        """
        placement = self._setting.suite.load
        if placement.ray is not None:
            crew: Crew = _ray_workers(placement.ray).on_ray(placement.ray, placement.workers)
            return crew
        known = self._audits.get(point.id)
        # The busiest load is the best guide: a token costs more where cores sleep between two.
        guide = known or max(self._audits.values(), key=_tok_s, default=None)
        floor = point.claim.floor_tok_s if point.claim else None
        needed = workers_needed(
            _tok_s(known) if known else floor or 0.0,
            clients=point.workload.concurrency,
            cores=len(os.sched_getaffinity(0)),
            cpu_s_per_token=guide.cpu_s / guide.messages
            if guide and guide.messages
            else CPU_S_PER_TOKEN,
        )
        return here(placement.workers or needed)

    def _stop(self) -> None:
        self._serving = None
        self._stack.close()

    def _fresh_folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="perfgate-")))

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._observer.begin(what)
        try:
            yield
        finally:
            self._observer.end()


def _run_rounds(one_round: Callable[[], None], rounds: int) -> None:
    for _ in range(rounds):
        one_round()


def _ray_workers(address: str) -> ModuleType:
    """What drives load from a Ray cluster; UsageError without the extra."""
    try:
        return importlib.import_module("perfgate.load.ray_workers")
    except ModuleNotFoundError as error:
        rule = f"it needs {error.name}: pip install 'perfgate[ray]'"
        raise UsageError("load.ray", address, rule) from error


def _tok_s(audit: ClientAudit) -> float:
    return audit.messages / audit.wall_s if audit.wall_s else 0.0
