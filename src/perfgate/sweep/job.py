"""A sweep from its command: which engines, what goes on from where, and what is left on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from perfgate import artifacts, codec
from perfgate.errors import UsageError
from perfgate.keep_serving import until_told_to_stop
from perfgate.model import SIMULATED_SUFFIX, Claim, EngineSpec, Fingerprint, OperatingPoint
from perfgate.paired import Measuring
from perfgate.provenance import wall_clock
from perfgate.report.plots import curve_svg
from perfgate.report.sweep import drawn_curve, sweep_html
from perfgate.rig import Rig
from perfgate.run_info import run_info
from perfgate.setting import Setting
from perfgate.sweep.choice import SweepPlan
from perfgate.sweep.content import EngineSweep, SweepFile
from perfgate.sweep.driven_rig import Drive, DrivenRig
from perfgate.sweep.rate_result import rate_result
from perfgate.sweep.rates import RatePlan, open_loop
from perfgate.sweep.result import result_of
from perfgate.sweep.run import Means, begun, run_sweep
from perfgate.sweep.same import refuse_other
from perfgate.sweep.virtual_rig import VirtualRig
from perfgate.terminal import TerminalProgress


class SweepJob:
    """Sweeps engines one after the other into one folder.

    With `rates` the loop is open: those are offered, or where there are none, rates of its own.
    Raises UsageError before anything is measured: for an engine or number that cannot be, and for a
    folder that holds a sweep of something else.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        progress: TerminalProgress,
        engines: Sequence[str],
        concurrencies: tuple[int, ...],
        rates: tuple[float, ...] | None,
        budget_s: float,
        boots: int,
        p95_ceiling_s: float | None,
        virtual: bool,
        drive: Drive | None = None,
    ) -> None:
        self._setting = setting
        self._progress = progress
        self._boots = boots
        self._virtual = VirtualRig(setting, progress) if virtual else None
        self._drive = drive
        self._started_at, self._started = wall_clock(), time.monotonic()
        self._sweeps: dict[str, EngineSweep] = {}
        self._plans: dict[str, SweepPlan | RatePlan] = {}
        for name in dict.fromkeys(engines):
            point = _with_ceiling(template(setting, name), p95_ceiling_s, setting.hardware)
            plan: SweepPlan | RatePlan
            if rates is not None:
                # Where so many wait for a slot as have one, the server has long been too slow.
                point = open_loop(point, most_in_flight=2 * point.engine.max_batch_size)
                plan = RatePlan(sampling=point.sampling, budget_s=budget_s, rates=rates)
            else:
                plan = SweepPlan(
                    max_batch_size=point.engine.max_batch_size,
                    sampling=point.sampling,
                    budget_s=budget_s,
                    ceiling_p95_s=point.claim.ceiling_p95_s if point.claim else None,
                    concurrencies=concurrencies,
                )
            self._plans[name], self._sweeps[name] = plan, begun(point, plan)
        self._go_on()

    @property
    def content(self) -> SweepFile:
        """What the folder holds."""
        info = run_info(
            self._setting,
            started_at=self._started_at,
            duration_s=time.monotonic() - self._started,
        )
        return SweepFile(run=info, engines=tuple(self._sweeps.values()))

    @property
    def measured(self) -> bool:
        """Whether each engine that was asked for has a result."""
        swept = [self._sweeps[name] for name in self._plans]
        return all(one.result or one.offered for one in swept)

    def run(self) -> bool:
        """Measure what is left; False if Ctrl-C or SIGTERM ended it before that."""
        finished = False
        try:
            with until_told_to_stop():
                for name, plan in self._plans.items():
                    run_sweep(self._sweeps[name], plan, self._means(name), boots=self._boots)
                finished = True
        finally:
            self._render()  # of what there is, whatever ended it
        return finished

    def _go_on(self) -> None:
        """Take up what the folder holds already, once it is known to be the same."""
        earlier = artifacts.load_sweep(self._setting.artifacts)
        for one in earlier.engines if earlier else ():
            name = one.point.engine.name
            if name not in self._sweeps:
                self._sweeps[name] = one  # swept by another command: kept, and shown beside
                continue
            now = self._sweeps[name].point
            self._check(one, self._known_before(now), now)
            self._sweeps[name] = one

    def _known_before(self, point: OperatingPoint) -> Fingerprint:
        """What can be said of a measurement before a server runs."""
        if self._virtual is not None:
            return self._virtual.fingerprint(point)
        with Rig(self._setting, self._progress) as rig:
            found = rig.fingerprint(point)
        return self._drive.named(found) if self._drive else found

    def _check(self, one: EngineSweep, found: Fingerprint, point: OperatingPoint) -> None:
        refuse_other(one, point, found, folder=str(self._setting.artifacts))

    def _means(self, name: str) -> Means:
        return Means(
            open_rig=self._open_rig,
            check=lambda one, found: self._check(one, found, one.point),
            store=lambda one: self._store(name, one),
            ahead=self._progress,
            clock=self._clock(),
        )

    def _clock(self) -> Callable[[], float]:
        virtual = self._virtual
        return time.monotonic if virtual is None else lambda: virtual.seconds

    @contextmanager
    def _open_rig(self, _boot: int) -> Iterator[Measuring]:
        if self._virtual is not None:
            yield self._virtual
            return
        with Rig(self._setting, self._progress) as rig:
            if self._drive is None:
                yield rig
            else:
                yield DrivenRig(rig, self._setting, self._progress, self._drive)

    def _store(self, name: str, one: EngineSweep) -> None:
        if isinstance(self._plans[name], RatePlan):
            self._sweeps[name] = replace(one, offered=rate_result(one))
        else:
            self._sweeps[name] = replace(one, result=result_of(one, self._setting.profile))
        artifacts.save_sweep(self._setting.artifacts, self.content)

    def _render(self) -> None:
        folder, profile = self._setting.artifacts, self._setting.profile
        content = self.content
        drawn = [(one, curve) for one in content.engines if (curve := drawn_curve(one, profile))]
        for one, curve in drawn:
            # One engine has the curve, of several each has its own.
            name = artifacts.CURVE if len(drawn) == 1 else f"curve-{one.point.engine.name}.svg"
            codec.write_atomic(folder / name, curve_svg(curve).encode())
        if drawn:
            codec.write_atomic(folder / artifacts.SWEEP_HTML, sweep_html(content, profile).encode())


def template(setting: Setting, engine: str) -> OperatingPoint:
    """The load an engine is swept with: that of its first closed loop of equal requests.

    Other loads have no concurrency of their own that could be swept, or none that is comparable.
    """
    points = [point for point in setting.suite.points if point.workload.uniform]
    for point in points:
        if point.engine.name == engine:
            return point
    known: dict[str, EngineSpec] = {point.engine.name: point.engine for point in points}
    raise UsageError("--engine", engine, f"it must be one of {', '.join(known)}")


def _with_ceiling(point: OperatingPoint, ceiling_s: float | None, hardware: str) -> OperatingPoint:
    """The point without what is claimed of its own concurrency only."""
    claimed, source = (point.claim.ceiling_p95_s, point.claim.source) if point.claim else (None, "")
    if ceiling_s is not None:
        claimed, source = ceiling_s, "--p95-ceiling"
    real = hardware.removesuffix(SIMULATED_SUFFIX)
    claim = Claim(hardware=real, ceiling_p95_s=claimed, source=source) if claimed else None
    return replace(point, claim=claim, gated=False)
