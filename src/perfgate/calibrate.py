"""`perfgate calibrate`: measure one session of boots, add it to the host's calibration, and advise.

A session is one sitting. The noise between days only shows on several of them, so the command is
run once on each of four days; each run adds its session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from perfgate import calibration
from perfgate.calibration import Calibration
from perfgate.errors import BaselineError, UsageError
from perfgate.gate.boundaries import stored
from perfgate.gate.budget import Prospect, prospects, recommended
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.series import Rules
from perfgate.gate.wording import percent
from perfgate.model import Measurement, OperatingPoint, PairedPolicy
from perfgate.paired import Measuring, point_ids, require_paired
from perfgate.provenance import wall_clock
from perfgate.rig import Rig
from perfgate.setting import BASELINES, Setting

FOLDER = "calibration"

Say = Callable[[str], None]
Session = dict[str, list[list[float]]]


@dataclass
class Steps:
    """Tells each step of a rig as a line."""

    say: Say
    _began: float = field(default=0.0)

    def begin(self, what: str) -> None:
        """Tell what begins."""
        self._began = time.monotonic()
        self.say(f"  {what} ...")

    def advance(self, done: int, total: int) -> None:
        """Say nothing: here the boots are the progress."""

    def end(self) -> None:
        """Tell how long the step took."""
        self.say(f"    {time.monotonic() - self._began:.1f} s")


def calibrate(setting: Setting, *, boots: int, windows: int, say: Say) -> Calibration:
    """Measure one session and store it with the earlier ones.

    Raises UsageError or BaselineError before anything is booted, and BaselineError for a vetoed
    run: a host that cannot be measured cannot be calibrated.
    """
    policy = require_paired(setting.suite.policy)
    path = path_of(setting)
    earlier = calibration.load(path) if path.exists() else None
    _require_same_shape(earlier, policy, boots)
    points = [setting.suite.point(name) for name in point_ids(policy)]

    def open_rig(boot: int) -> Rig:
        return Rig(
            replace(setting, artifacts=setting.artifacts / FOLDER / f"{boot:02d}"), Steps(say)
        )

    began = time.monotonic()
    session = measure_session(policy, points, open_rig, boots=boots, windows=windows, say=say)
    minutes = (time.monotonic() - began) / 60 / boots
    known = with_session(setting.hardware, earlier, session, minutes, measured_at=wall_clock())
    calibration.save(path, known)
    return known


def measure_session(
    policy: PairedPolicy,
    points: Sequence[OperatingPoint],
    open_rig: Callable[[int], AbstractContextManager[Measuring]],
    *,
    boots: int,
    windows: int,
    say: Say,
) -> Session:
    """One sitting: for each cell a list of boots of windows, in the metric's unit."""
    session: Session = {cell: [] for cell in (*policy.primary, *policy.secondary)}
    for boot in range(boots):
        say(f"boot {boot + 1} of {boots}")
        with open_rig(boot) as rig:
            measured = [_window(rig, points, window) for window in range(windows)]
        for cell, found in session.items():
            found.append([_value(cell, one) for one in measured])
    return session


def with_session(
    hardware: str,
    earlier: Calibration | None,
    session: Session,
    minutes: float,
    *,
    measured_at: str,
) -> Calibration:
    """The earlier calibration and one more session, of the cells that the policy names now."""
    before = earlier.runs if earlier else {}
    runs = {cell: [*before.get(cell, ()), boots] for cell, boots in session.items()}
    return calibration.derive(hardware, measured_at, minutes, runs)


def path_of(setting: Setting) -> Path:
    """Where the calibration of this hardware lies."""
    return setting.suite.root / BASELINES / setting.hardware / calibration.FILE


def outlook(known: Calibration, policy: PairedPolicy) -> tuple[Prospect, ...]:
    """What paired jobs would do on this host, by budget."""
    lines = stored()
    rules = Rules(
        tolerance=policy.tolerance,
        margin=policy.margin,
        own=policy.own,
        boundaries=lines,
        most_pairs=lines.design.last_look,
    )
    return prospects(known.runs, known.pair_sd, policy.primary, rules, known.start_minutes)


def advice_text(known: Calibration, policy: PairedPolicy) -> str:
    """The calibration for people: components, prospects by budget, and what to do next."""
    found = outlook(known, policy)
    return "\n".join([*_noise(known), "", *_table(found), "", _next(known, policy, found)]) + "\n"


def _require_same_shape(earlier: Calibration | None, policy: PairedPolicy, boots: int) -> None:
    if boots < calibration.LEAST_BOOTS:
        raise UsageError("--boots", boots, f"it must be at least {calibration.LEAST_BOOTS}")
    for cell in (*policy.primary, *policy.secondary):
        for session in earlier.runs.get(cell, ()) if earlier else ():
            if len(session) != boots:
                rule = f"the sessions before have {len(session)} boots of {cell}"
                raise UsageError("--boots", boots, rule)


def _window(
    rig: Measuring, points: Sequence[OperatingPoint], window: int
) -> dict[str, Measurement]:
    """Every point once; later windows of the same server go by another name."""
    measured = {}
    for point in points:
        name = f"{point.id}-w{window}" if window else point.id
        one = rig.measure(replace(point, id=name))
        if one.vetoes:
            msg = f"{name}: {one.vetoes[0].message}. Calibrate a host that can be measured."
            raise BaselineError(msg)
        measured[point.id] = one
    return measured


def _value(cell: str, measured: dict[str, Measurement]) -> float:
    point, _, metric = cell.rpartition(":")
    value = BY_NAME[metric].read(measured[point])
    if value is None:
        msg = f"{cell}: too few requests for it. Raise the point's round_requests."
        raise BaselineError(msg)
    return float(f"{value:.6g}")


def _noise(known: Calibration) -> list[str]:
    lines = [f"{known.hardware}: {known.start_minutes:.2f} minutes a start"]
    for cell, parts in known.components.items():
        sds = (("day", parts.session_sd), ("boot", parts.boot_sd), ("window", parts.window_sd))
        told = ", ".join(f"{name} {_sd(sd)}" for name, sd in sds)
        lines.append(
            f"  {cell}: sd of {told}; of a pair {_sd(known.pair_sd[cell])} "
            f"({parts.sessions} sessions, {parts.boots} boots)"
        )
    return lines


def _sd(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.2f} %"


def _table(found: Sequence[Prospect]) -> list[str]:
    rows = ["pairs  at most  mean if honest  false alarms  open  catches margin  sees 80 %"]
    rows += [
        f"{one.pairs:5d} {one.most_minutes:6.1f} m {one.minutes:13.1f} m {one.false_alarms:13.2%} "
        f"{one.inconclusive:5.1%} {one.power:15.1%} {one.smallest_seen:10.1%}"
        for one in found
    ]
    return rows


def _next(known: Calibration, policy: PairedPolicy, found: Sequence[Prospect]) -> str:
    thin = [cell for cell in policy.primary if not calibration.enough(known, cell)]
    if thin:
        have, least = calibration.degrees_of_freedom(known, thin[0]), stored().design.prior_df
        return (
            f"Not armed yet: {have} of {least} degrees of freedom. Calibrate on another day: "
            "perfgate calibrate"
        )
    best = recommended(found)
    if best is None:
        return (
            f"No budget catches a loss of {percent(policy.margin)} in 95 % of the jobs: lower the "
            "noise (locked clocks, an exclusive host) or make the cell secondary."
        )
    return (
        f"Recommended: [paired] budget_minutes = {best.most_minutes:.0f} in policy.toml "
        f"({best.pairs} pairs; an honest merge costs {best.minutes:.1f} on average)."
    )
