"""Noise models: log costs of runs as a host might give them; seeded, vectorised, no clock.

A run's log cost is session + boot + window. Session and boot share the between-run variance CV^2
evenly; a window of 90 s of 5 s bins with sd 2 % and lag-1 correlation 0.7 adds 1.1 %. The cells of
one run share 60 % of each part's variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator

WINDOW_SD = 0.02 * math.sqrt((1 + 0.7) / (1 - 0.7) / 18)
SHARED = 0.6
START_MINUTES = 2.0
WINDOW_MINUTES = 1.5
RUN_MINUTES = START_MINUTES + WINDOW_MINUTES


@dataclass(frozen=True)
class Noise:
    """One model. `boot` draws unit-variance boots; the rest is added to what they give.

    `outliers` is the share of runs that lose 10 % unseen; `warmup` the most that a session's start
    loses, fading with 20 minutes; `drift_per_hour` the sd of a linear drift; `boot_memory` the
    correlation of successive boots; `slow_host` a loss of the job's session alone; `understated`
    how much noisier the host has become since it was calibrated.
    """

    name: str
    boot: str = "normal"
    outliers: float = 0.0
    warmup: float = 0.0
    drift_per_hour: float = 0.0
    boot_memory: float = 0.0
    slow_host: float = 0.0
    understated: float = 1.0


MODELS = (
    Noise("gaussian"),
    Noise("field", outliers=0.03, warmup=0.015),
    Noise("heavy tails", boot="student"),
    Noise("bimodal boots", boot="bimodal"),
    Noise("host drift", warmup=0.015, drift_per_hour=0.02),
    Noise("outlier runs", outliers=0.05),
    Noise("autocorrelated", boot_memory=0.6),
    Noise("slow host 8 %", outliers=0.03, warmup=0.015, slow_host=0.08),
    Noise("noise x1.5 since", outliers=0.03, understated=1.5),
)


def draw(noise: Noise, cv: float, rng: Rng, *, jobs: int, runs: int, cells: int) -> Array:
    """Log costs (jobs, runs, cells) of the runs of one session a job."""
    part = cv / math.sqrt(2)
    costs: Array = part * _normal(rng, (jobs, 1, cells)) + part * _boots(
        noise, rng, (jobs, runs, cells)
    )
    costs += WINDOW_SD * _normal(rng, (jobs, runs, cells))
    minutes = np.arange(runs) * RUN_MINUTES
    shared: Array = noise.warmup * rng.random((jobs, 1)) * np.exp(-minutes / 20)
    shared = shared + noise.drift_per_hour * rng.standard_normal((jobs, 1)) * minutes / 60
    shared += -math.log(0.90) * (rng.random((jobs, runs)) < noise.outliers)
    return costs + shared[..., None]


def _normal(rng: Rng, shape: tuple[int, int, int]) -> Array:
    common = rng.standard_normal((*shape[:-1], 1))
    own = rng.standard_normal(shape)
    return math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * own


def _boots(noise: Noise, rng: Rng, shape: tuple[int, int, int]) -> Array:
    boots = _KINDS[noise.boot](rng, shape)
    for run in range(1, shape[1]):
        memory = noise.boot_memory
        boots[:, run] = memory * boots[:, run - 1] + math.sqrt(1 - memory**2) * boots[:, run]
    return boots


def _student(rng: Rng, shape: tuple[int, int, int]) -> Array:
    # t with 3 degrees of freedom has variance 3; the cells of a run share its scale.
    scale: Array = np.sqrt(3 / rng.chisquare(3, (*shape[:-1], 1)))
    return _normal(rng, shape) * scale / math.sqrt(3)


def _bimodal(rng: Rng, shape: tuple[int, int, int]) -> Array:
    mode = np.where(rng.random((*shape[:-1], 1)) < 0.5, -1.0, 1.0)
    return math.sqrt(0.9) * mode + math.sqrt(0.1) * _normal(rng, shape)


_KINDS: dict[str, Callable[[Rng, tuple[int, int, int]], Array]] = {
    "normal": _normal,
    "student": _student,
    "bimodal": _bimodal,
}
