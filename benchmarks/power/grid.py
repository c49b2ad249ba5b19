"""The experiment: every noise model, every loss, our gate and the peers' rules on the same runs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perfgate.gate.boundaries import stored
from perfgate.gate.components import run_sd
from perfgate.gate.losses import from_fraction
from perfgate.gate.rehearsal import arms, rehearse
from perfgate.gate.series import Rules
from perfgate.model import Verdict
from power.noise import RUN_MINUTES, Array, Noise, draw
from power.peers import RULES, Streams

LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.10)
CVS = (0.01, 0.02, 0.04)
SESSIONS = 20
RUNS = 28
GATE = Rules(tolerance=0.01, margin=0.05, boundaries=stored(), most_pairs=14)
OURS, OURS_FOUR, PAIRS = "perfgate, 1 cell", "perfgate, 4 cells", "perfgate, 4 cells, no screen"


@dataclass(frozen=True)
class Rate:
    """What one rule did in one situation; shares of jobs, and minutes of GPU a job.

    With four cells, one of them is slower. `passed` counts PASS and IMPROVEMENT.
    """

    rule: str
    noise: str
    cv: float
    loss: float
    jobs: int
    red: float
    passed: float
    inconclusive: float
    invalid: float
    unstable: float
    minutes: float
    minutes_p95: float


def situations(
    models: tuple[Noise, ...], cvs: tuple[float, ...], losses: tuple[float, ...]
) -> Iterator[tuple[Noise, float, float]]:
    """Every noise model at every CV with every loss; a slow host only meets honest code."""
    for noise in models:
        for cv in cvs:
            for loss in losses:
                if not (noise.slow_host and loss):
                    yield noise, cv, loss


def rates(noise: Noise, cv: float, loss: float, *, jobs: int, peers: bool = True) -> list[Rate]:
    """What every rule does in one situation."""
    rng = np.random.default_rng(zlib.crc32(f"{noise.name} {cv} {loss}".encode()))
    found = []
    for rule, cells in ((OURS, 1), (OURS_FOUR, 4)):
        today, days, sd = job(noise, cv, rng, jobs=jobs, cells=cells)
        found.append(_ours(rule, noise, cv, loss, _slowed(today, loss, screened=True), sd, days))
    found.append(_ours(PAIRS, noise, cv, loss, _slowed(today, loss, screened=False), sd, None))
    if peers:
        found += _peers(noise, cv, loss, rng, jobs)
    return found


def job(
    noise: Noise, cv: float, rng: np.random.Generator, *, jobs: int, cells: int
) -> tuple[Array, Array, Array]:
    """Today's runs, stored sessions of other days, and what the host was calibrated with.

    The calibration is the one `perfgate calibrate` asks for: 4 sessions of 10 boots.
    """
    today = draw(noise, cv, rng, jobs=jobs, runs=RUNS, cells=cells) + noise.slow_host
    if noise.understated != 1:
        today = today.mean(axis=1, keepdims=True) + noise.understated * (
            today - today.mean(axis=1, keepdims=True)
        )
    days = [draw(noise, cv, rng, jobs=jobs, runs=1, cells=cells)[:, 0] for _ in range(SESSIONS)]
    sessions = [draw(noise, cv, rng, jobs=jobs, runs=10, cells=cells) for _ in range(4)]
    calibrated = run_sd(np.moveaxis(np.stack(sessions, axis=1), -1, 1))
    return today, np.stack(days, axis=-1), calibrated * np.sqrt(2)


def _slowed(today: Array, loss: float, *, screened: bool) -> Array:
    slowed = today.copy()
    slowed[:, arms(RUNS, screened=screened), 0] += from_fraction(loss)
    return slowed


def _ours(  # noqa: PLR0917 - one situation, in the order of its name
    rule: str, noise: Noise, cv: float, loss: float, costs: Array, sd: Array, days: Array | None
) -> Rate:
    outcome = rehearse(costs, sd, GATE, stored=days)
    minutes = outcome.starts * RUN_MINUTES
    return Rate(
        rule=rule,
        noise=noise.name,
        cv=cv,
        loss=loss,
        jobs=len(costs),
        red=outcome.share(Verdict.REGRESSION),
        passed=outcome.share(Verdict.PASS, Verdict.IMPROVEMENT),
        inconclusive=outcome.share(Verdict.INCONCLUSIVE),
        invalid=outcome.share(Verdict.INVALID),
        unstable=outcome.share(Verdict.UNSTABLE),
        minutes=float(minutes.mean()),
        minutes_p95=float(np.quantile(minutes, 0.95)),
    )


def _peers(
    noise: Noise, cv: float, loss: float, rng: np.random.Generator, jobs: int
) -> Iterator[Rate]:
    today, days, _ = job(noise, cv, rng, jobs=jobs, cells=1)
    candidate = arms(RUNS, screened=False)
    streams = Streams(
        stored=days[:, 0],
        five=draw(noise, cv, rng, jobs=jobs, runs=5, cells=1)[..., 0],
        base=today[:, ~candidate, 0],
        candidate=today[:, candidate, 0] + from_fraction(loss),
        rng=rng,
    )
    for rule, decide in RULES.items():
        red, starts = decide(streams)
        yield Rate(
            rule=rule,
            noise=noise.name,
            cv=cv,
            loss=loss,
            jobs=jobs,
            red=float(red.mean()),
            passed=float(1 - red.mean()),
            inconclusive=0.0,
            invalid=0.0,
            unstable=0.0,
            minutes=float(starts.mean() * RUN_MINUTES),
            minutes_p95=float(np.quantile(starts, 0.95) * RUN_MINUTES),
        )
