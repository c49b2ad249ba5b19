"""A paired job on this machine: this checkout against a base, by the policy's own cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from perfgate import baselines, calibration
from perfgate.base_ref import base_setting
from perfgate.calibration import Calibration
from perfgate.errors import BaselineError, UsageError
from perfgate.gate.pairing import Arm, PairedPlan
from perfgate.gate.screen import LEAST_SESSIONS, OLDEST_DAYS
from perfgate.model import Cell, Judgement, OperatingPoint, PairedPolicy
from perfgate.paired import plan_of, plan_of_windows, point_ids, require_paired, run_pairs
from perfgate.rig import Observer, Rig
from perfgate.setting import BASELINES, Setting

STARTS = "pairs"


def against_base(setting: Setting, base: str, observer: Observer) -> Judgement:
    """Pair this checkout against `base` and judge it; every start lies under `pairs/`.

    Raises UsageError or BaselineError before anything is booted, if the policy, the base or the
    calibration does not allow it.
    """
    policy = require_paired(setting.suite.policy)
    settings = {Arm.CANDIDATE: setting, Arm.BASE: base_setting(setting, base)}
    points = {
        arm: {name: one.suite.point(name) for name in point_ids(policy)}
        for arm, one in settings.items()
    }
    _require_same_load(points)
    plan = _plan(setting, policy, points[Arm.CANDIDATE].values())

    def open_rig(arm: Arm, number: int) -> Rig:
        folder = setting.artifacts / STARTS / f"{number:02d}-{arm}"
        return Rig(replace(settings[arm], artifacts=folder), observer)

    return run_pairs(plan, points, open_rig, base=base, artifacts=setting.artifacts)


def _plan(setting: Setting, policy: PairedPolicy, points: Iterable[OperatingPoint]) -> PairedPlan:
    if setting.remote is not None:
        return plan_of_windows(policy)
    known = _calibration(setting, policy)
    stored = baselines.cells(setting.suite.root / BASELINES, setting.hardware, points)
    return plan_of(policy, known, screenable(policy, stored, today=datetime.now(UTC)))


def screenable(
    policy: PairedPolicy, stored: Mapping[str, Cell], *, today: datetime
) -> dict[str, tuple[float, ...]]:
    """The stored sessions of each primary cell, one value each; all cells or none.

    Under ten sessions, or with none of the last thirty days, nothing is screened: pairs decide.
    """
    found: dict[str, tuple[float, ...]] = {}
    for name in policy.primary:
        point, _, metric = name.rpartition(":")
        cell = stored.get(point)
        by_session = {one.session: one for one in cell.samples} if cell else {}
        ages = [_age_days(one.measured_at, today) for one in by_session.values()]
        values = [getattr(one, metric) for one in by_session.values()]
        if len(values) < LEAST_SESSIONS or min(ages) > OLDEST_DAYS or None in values:
            return {}
        found[name] = tuple(values)
    return found


def _age_days(measured_at: str, today: datetime) -> float:
    return (today - datetime.fromisoformat(measured_at)).total_seconds() / 86400


def _require_same_load(points: Mapping[Arm, Mapping[str, OperatingPoint]]) -> None:
    for name, point in points[Arm.CANDIDATE].items():
        other = points[Arm.BASE][name].workload
        if other != point.workload:
            rule = f"the base puts another load on it ({other}): the two are not comparable"
            raise UsageError(f"point {name}", str(point.workload), rule)


def _calibration(setting: Setting, policy: PairedPolicy) -> Calibration:
    path = setting.suite.root / BASELINES / setting.hardware / calibration.FILE
    known = calibration.load(path)
    if known.hardware != setting.hardware:
        msg = f"{path} is of {known.hardware}, this is {setting.hardware}: calibrate this one"
        raise BaselineError(msg)
    for cell in policy.primary:
        if cell in known.pair_sd and not calibration.enough(known, cell):
            msg = (
                f"{path}: {cell} was calibrated with {known.components[cell].boots} boots, too few "
                "to hold the gate's error rates. Run: perfgate calibrate"
            )
            raise BaselineError(msg)
    return known
