"""A/A and A/B jobs through the real Triton on the simulated engine; raw starts are kept as data.

    python benchmarks/real_ab.py campaign --minutes 60   calibrate if need be, then job after job
    python benchmarks/real_ab.py job slow5               one job; candidate's steps take 5 % longer
    python benchmarks/real_ab.py starts --minutes 3      single starts, every second one 1 % slower
    python benchmarks/real_ab.py itl                     jobs on TPOT alone, drawn from these starts
    python benchmarks/real_ab.py summary                 judge the stored jobs again and count

`campaign --itl` and `job itlslow1` run such jobs for real: tolerance 0, margin 1 %.

A campaign stops at Ctrl-C or when the minutes are spent and goes on when it is started again: each
job is written when it is decided, under `benchmarks/results/real_ab/`. One that was cut short is
measured anew. Needs quiet cores; what disturbs them costs minutes.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from perfgate import calibration, codec
from perfgate.calibrate import Steps, measure_session, with_session
from perfgate.errors import BaselineError
from perfgate.gate import explain
from perfgate.gate.pairing import Arm
from perfgate.gate.rehearsal import VERDICTS, arms, rehearse
from perfgate.gate.series import Rules
from perfgate.model import Limits, OperatingPoint, PairedPolicy, Sampling, Verdict
from perfgate.paired import (
    Measuring,
    PairsFile,
    measure_start,
    plan_of,
    rejudge_pairs,
    rules_of,
    run_pairs,
)
from perfgate.provenance import wall_clock
from perfgate.rig import Rig
from perfgate.setting import Setting, settle

Array = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "real_ab"
POINT = "fp8-b64-c64"
TPOT = f"{POINT}:tpot_p50_s"


@dataclass(frozen=True)
class Kind:
    """One kind of job: what it is judged by, its load, and which arms take turns."""

    policy: PairedPolicy
    osl: int
    sampling: Sampling
    turns: tuple[str, ...]
    calibration: Path


# A quarter of the point's output length: a start takes 12 s instead of 26.
AB = Kind(
    policy=PairedPolicy(
        primary=(f"{POINT}:throughput_tok_s", f"{POINT}:latency_p95_s"),
        secondary=(f"{POINT}:ttft_p50_s", TPOT),
    ),
    osl=32,
    sampling=Sampling(rounds=2, round_requests=64),
    turns=("same", "same", "slow5", "same", "same", "slow10", "same", "same", "slow3"),
    calibration=RESULTS / calibration.FILE,
)
# All of it: over 128 tokens a late step of the machine's weighs little. 16 s of load a start.
ITL = Kind(
    policy=PairedPolicy(primary=(TPOT,), own={TPOT: Limits(tolerance=0.0, margin=0.01)}),
    osl=128,
    sampling=Sampling(rounds=2, round_requests=32),
    turns=("itlsame", "itlslow1"),
    calibration=RESULTS / "calibration-itl.json",
)
FACTORS = {
    "same": 1.0,
    "itlsame": 1.0,
    "itlslow1": 1.01,
    "slow3": 1.03,
    "slow5": 1.05,
    "slow10": 1.10,
}
DRAWN_JOBS = 4000
BOOTS = 5  # in a session: few, for one disturbed start spoils the session
RUNNING = RESULTS / "running"
STARTS = RESULTS / "starts.json"


def main() -> int:
    """Run a campaign or one job, or sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    campaigning = commands.add_parser("campaign")
    campaigning.add_argument("--minutes", type=float, required=True)
    campaigning.add_argument("--itl", action="store_true")
    commands.add_parser("starts").add_argument("--minutes", type=float, required=True)
    commands.add_parser("job").add_argument("arm", choices=FACTORS)
    commands.add_parser("itl")
    commands.add_parser("summary")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)  # servers must stop either way
    try:
        if chosen.command == "campaign":
            campaign(time.monotonic() + chosen.minutes * 60, ITL if chosen.itl else AB)
        elif chosen.command == "starts":
            starts(time.monotonic() + chosen.minutes * 60)
        elif chosen.command == "itl":
            return itl()
        elif chosen.command == "job":
            job(chosen.arm)
    except KeyboardInterrupt:
        print("stopped; the job that ran is measured anew when the campaign goes on")
    return summary()


def campaign(until: float, kind: Kind) -> None:
    """Calibrate until the gate may be armed, then run jobs in turn, until the time has come."""
    arm_gate(until, kind)
    while time.monotonic() < until:
        stored = sum(len(list(RESULTS.glob(f"{arm}-[0-9]*"))) for arm in set(kind.turns))
        job(kind.turns[stored % len(kind.turns)])


def arm_gate(until: float, kind: Kind) -> None:
    """Calibrate, a session at a time, until enough is known of the noise."""
    while not _calibrated(kind) and time.monotonic() < until:
        calibrate(kind)


def starts(until: float) -> None:
    """Measure starts of the same engine and of one 1 % slower, in turn, and keep them all."""
    arm_gate(until, ITL)
    plan = plan_of(ITL.policy, calibration.load(ITL.calibration))
    kept = PairsFile(base=f"steps x {FACTORS['itlslow1']:g}", plan=plan, history=())
    if STARTS.exists():
        kept = codec.from_json(STARTS.read_bytes(), PairsFile, origin=str(STARTS))
    while time.monotonic() < until:
        number = len(kept.history)
        arm = Arm.CANDIDATE if number % 4 in {1, 2} else Arm.BASE
        with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
            setting = _setting(
                FACTORS["itlslow1" if arm is Arm.CANDIDATE else "same"], Path(folder)
            )
            points = {POINT: _point(setting, ITL)}
            start = measure_start(plan, arm, points, _rig(setting, number))
        kept = replace(kept, history=(*kept.history, start))
        codec.write_atomic(STARTS, codec.to_pretty_json(kept))
        _say(f"{number} {arm}: {start.fault or start.values}")


def itl() -> int:
    """Draw jobs on TPOT from the stored starts and tell how often 1 % is found; 1 if too rarely.

    Within a job no start is drawn twice. The intervals are of a bootstrap of the starts.
    """
    kept = codec.from_json(STARTS.read_bytes(), PairsFile, origin=str(STARTS))
    sound = [start for start in kept.history if start.sound]
    base, slow = (
        np.log([start.values[TPOT] for start in sound if start.arm is arm]) for arm in Arm
    )
    minutes = float(np.mean([start.minutes for start in sound]))
    print(f"{base.size} starts and {slow.size} slower ones, {60 * minutes:.1f} s each, in TPOT")
    print(f"slower by {np.median(slow) - np.median(base):.2%}, sd of a pair", end=" ")
    print(f"{2**0.5 * base.std(ddof=1):.2%}, calibrated {kept.plan.pair_sd[TPOT]:.2%}")
    rules = rules_of(kept.plan)
    rng = np.random.default_rng(20260101)
    found, longest = _drawn(rng, base, slow, kept.plan.pair_sd[TPOT], rules)
    alarms, _ = _drawn(rng, base, base, kept.plan.pair_sd[TPOT], rules)
    spread = [_bootstrapped(rng, base, slow, kept.plan.pair_sd[TPOT], rules) for _ in range(200)]
    for name, share, column in (("found", found, 0), ("false alarms", alarms, 1)):
        low, high = np.quantile([one[column] for one in spread], (0.025, 0.975))
        print(f"{name}: {share:.2%} of {DRAWN_JOBS} jobs ({low:.1%} to {high:.1%})")
    print(f"19 of 20 jobs that find it take at most {longest * 60 * minutes:.0f} s, boots included")
    return 0 if found >= 0.95 and alarms <= 0.01 else 1


def _drawn(
    rng: np.random.Generator, base: Array, other: Array, pair_sd: float, rules: Rules
) -> tuple[float, float]:
    """The share of drawn jobs that go red, and how many starts 95 % of the red ones take."""
    same = other is base
    pairs = min(rules.last, base.size // 2 if same else min(base.size, other.size))
    rules = replace(rules, most_pairs=pairs)
    costs = np.empty((DRAWN_JOBS, 2 * pairs, 1))
    candidate = arms(2 * pairs, screened=False)
    for one in costs:
        drawn = rng.permutation(base)
        one[~candidate, 0] = drawn[:pairs]
        one[candidate, 0] = drawn[pairs : 2 * pairs] if same else rng.permutation(other)[:pairs]
    outcome = rehearse(costs, np.full((DRAWN_JOBS, 1), pair_sd), rules, names=(TPOT,))
    red = outcome.verdict == VERDICTS.index(Verdict.REGRESSION)
    return float(red.mean()), float(np.quantile(outcome.starts[red], 0.95)) if red.any() else 0.0


def _bootstrapped(
    rng: np.random.Generator, base: Array, slow: Array, pair_sd: float, rules: Rules
) -> tuple[float, float]:
    one, two = rng.choice(base, base.size), rng.choice(slow, slow.size)
    return _drawn(rng, one, two, pair_sd, rules)[0], _drawn(rng, one, one, pair_sd, rules)[0]


def calibrate(kind: Kind) -> None:
    """Measure a session of starts and add it to the calibration; a disturbed one is dropped."""
    with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
        setting = _setting(1.0, Path(folder))
        began = time.monotonic()
        try:
            session = measure_session(
                kind.policy,
                [_point(setting, kind)],
                lambda number: _rig(setting, number),
                boots=BOOTS,
                windows=1,
                say=_say,
            )
        except BaselineError as error:
            _say(f"session dropped: {error}")
            return
        minutes = (time.monotonic() - began) / 60 / BOOTS
        earlier = calibration.load(kind.calibration) if kind.calibration.exists() else None
        known = with_session(setting.hardware, earlier, session, minutes, measured_at=wall_clock())
    calibration.save(kind.calibration, known)
    _say(f"{len(next(iter(known.runs.values())))} sessions, sd of a pair: {known.pair_sd}")


def job(arm: str) -> None:
    """Run one paired job; its starts are stored whatever the verdict."""
    kind = ITL if arm in ITL.turns else AB
    plan = plan_of(kind.policy, calibration.load(kind.calibration))
    shutil.rmtree(RUNNING, ignore_errors=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
        settings = {
            Arm.BASE: _setting(1.0, Path(folder)),
            Arm.CANDIDATE: _setting(FACTORS[arm], Path(folder)),
        }
        points = {which: {POINT: _point(one, kind)} for which, one in settings.items()}
        judged = run_pairs(
            plan,
            points,
            lambda which, number: _rig(settings[which], number),
            base=f"the same engine; candidate's steps x {FACTORS[arm]:g}",
            artifacts=RUNNING,
        )
    kept = RUNNING.rename(RESULTS / f"{arm}-{len(list(RESULTS.glob(f'{arm}-*'))):03d}")
    _say(f"{wall_clock()} {kept.name}: {judged.verdict} in {time.monotonic() - began:.0f} s")
    _say(explain(judged))


def summary() -> int:
    """Verdicts by arm; 1 if an A/A job is red or a job of 10 % is not."""
    counts = {arm: Counter[str]() for arm in FACTORS}
    for folder in sorted(RESULTS.glob("*-[0-9]*")):
        judged = rejudge_pairs(folder)
        if judged is not None:
            counts[folder.name.partition("-")[0]][str(judged.verdict)] += 1
    for arm, verdicts in counts.items():
        line = f"{arm}: {verdicts.total()} jobs, {dict(verdicts)}"
        if verdicts.total():
            red = binomtest(verdicts["REGRESSION"], verdicts.total()).proportion_ci(0.95)
            line += f"; red in {red.low:.1%} to {red.high:.1%} of jobs (95 %, Clopper-Pearson)"
        print(line)
    missed = counts["slow10"].total() - counts["slow10"]["REGRESSION"]
    alarms = counts["same"]["REGRESSION"] + counts["itlsame"]["REGRESSION"]
    return 1 if alarms or missed else 0


def _setting(factor: float, artifacts: Path) -> Setting:
    setting = settle(ROOT, target="sim", url=None, require_hardware=False, artifacts=artifacts)
    simulation = replace(setting.profile.require_simulation(), step_time_factor=factor)
    return replace(setting, profile=replace(setting.profile, simulation=simulation))


def _point(setting: Setting, kind: Kind) -> OperatingPoint:
    point = setting.suite.point(POINT)
    workload = replace(point.workload, osl=kind.osl)
    return replace(point, workload=workload, sampling=kind.sampling)


def _calibrated(kind: Kind) -> bool:
    if not kind.calibration.exists():
        return False
    known = calibration.load(kind.calibration)
    return all(calibration.enough(known, cell) for cell in kind.policy.primary)


def _say(line: str) -> None:
    print(line, flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _rig(setting: Setting, number: int) -> Iterator[Measuring]:
    folder = setting.artifacts / f"{number:02d}"
    with Rig(replace(setting, artifacts=folder), Steps(_say)) as rig:
        yield rig


if __name__ == "__main__":
    sys.exit(main())
