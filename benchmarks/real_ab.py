"""A/A and A/B jobs through the real Triton on the simulated engine; raw starts are kept as data.

    python benchmarks/real_ab.py calibrate          one session of ten starts (run it four times)
    python benchmarks/real_ab.py job same           one A/A job, three minutes or more
    python benchmarks/real_ab.py job slow5          one job whose candidate's steps take 5 % longer
    python benchmarks/real_ab.py summary            judge all stored jobs again and count verdicts

Needs quiet cores. Everything lies under `benchmarks/results/real_ab/`, one file a job, so that the
thirty A/A jobs can be measured in as many sittings as it takes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from perfgate import calibration
from perfgate.calibrate import Steps, measure_session, with_session
from perfgate.gate import explain
from perfgate.gate.pairing import Arm
from perfgate.model import OperatingPoint, PairedPolicy, Sampling
from perfgate.paired import Measuring, plan_of, rejudge_pairs, run_pairs
from perfgate.provenance import wall_clock
from perfgate.rig import Rig
from perfgate.setting import Setting, settle

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "real_ab"
CALIBRATION = RESULTS / calibration.FILE
POINT = "fp8-b64-c64"
POLICY = PairedPolicy(primary=(f"{POINT}:throughput_tok_s", f"{POINT}:latency_p95_s"))
FACTORS = {"same": 1.0, "slow3": 1.03, "slow5": 1.05, "slow10": 1.10}
BOOTS = 10


def main() -> int:
    """Calibrate, measure one job, or sum up."""
    match sys.argv[1:]:
        case ["calibrate"]:
            return calibrate()
        case ["job", arm] if arm in FACTORS:
            return job(arm)
        case ["summary"]:
            return summary()
    print(__doc__, file=sys.stderr)
    return 2


def calibrate() -> int:
    """Measure ten starts and add them to the calibration as a session."""
    with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
        setting = _setting(1.0, Path(folder))
        began = time.monotonic()
        session = measure_session(
            POLICY,
            [_point(setting)],
            lambda number: _rig(setting, number),
            boots=BOOTS,
            windows=1,
            say=print,
        )
        minutes = (time.monotonic() - began) / 60 / BOOTS
        earlier = calibration.load(CALIBRATION) if CALIBRATION.exists() else None
        known = with_session(setting.hardware, earlier, session, minutes, measured_at=wall_clock())
    calibration.save(CALIBRATION, known)
    print(f"{len(next(iter(known.runs.values())))} sessions, sd of a pair: {known.pair_sd}")
    return 0


def job(arm: str) -> int:
    """Run one paired job; its starts are stored whatever the verdict."""
    plan = plan_of(POLICY, calibration.load(CALIBRATION))
    kept = RESULTS / f"{arm}-{len(list(RESULTS.glob(f'{arm}-*'))):03d}"
    with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
        settings = {
            Arm.BASE: _setting(1.0, Path(folder)),
            Arm.CANDIDATE: _setting(FACTORS[arm], Path(folder)),
        }
        points = {which: {POINT: _point(one)} for which, one in settings.items()}
        judged = run_pairs(
            plan,
            points,
            lambda which, number: _rig(settings[which], number),
            base=f"the same engine; candidate's steps x {FACTORS[arm]:g}",
            artifacts=kept,
        )
    print(explain(judged))
    return 0


def summary() -> int:
    """Verdicts by arm; 1 if an A/A job is red or a job of 10 % is not."""
    counts = {arm: Counter[str]() for arm in FACTORS}
    for folder in sorted(RESULTS.glob("*-[0-9]*")):
        judged = rejudge_pairs(folder)
        if judged is not None:
            counts[folder.name.partition("-")[0]][str(judged.verdict)] += 1
    for arm, verdicts in counts.items():
        print(f"{arm}: {verdicts.total()} jobs, {dict(verdicts)}")
    missed = counts["slow10"].total() - counts["slow10"]["REGRESSION"]
    return 1 if counts["same"]["REGRESSION"] or missed else 0


def _setting(factor: float, artifacts: Path) -> Setting:
    setting = settle(ROOT, target="sim", url=None, require_hardware=False, artifacts=artifacts)
    simulation = replace(setting.profile.require_simulation(), step_time_factor=factor)
    return replace(setting, profile=replace(setting.profile, simulation=simulation))


def _point(setting: Setting) -> OperatingPoint:
    short = Sampling(rounds=2, round_requests=64)
    return replace(setting.suite.point(POINT), sampling=short)


@contextmanager
def _rig(setting: Setting, number: int) -> Iterator[Measuring]:
    folder = setting.artifacts / f"{number:02d}"
    with Rig(replace(setting, artifacts=folder), Steps(print)) as rig:
        yield rig


if __name__ == "__main__":
    sys.exit(main())
