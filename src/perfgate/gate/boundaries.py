"""How far the evidence must go, look by look, before the paired gate decides.

The job looks after every pair. A decision at the first look that crosses a fixed line would err
far more often than that line says, so the lines are calibrated: many jobs are simulated under the
hypothesis in question, each is judged by the estimator of `estimator`, and a line is placed where
only the stated share of jobs ever crosses it. No formula stands in between.

Lines have the shape c(k) = C (k / K)^(shape - 1/2) of Wang and Tsiatis (Biometrics 43, 1987): at
shape 1/2 every look is as strict as the last one; below, early looks are stricter. A regression
is not urgent, so its line falls (small shape): few false alarms early, more power late.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from perfgate.codec import from_json
from perfgate.gate.estimator import (
    LOCATION_CLIP,
    SCALE_CLIP,
    Array,
    doubtful_sd,
    estimate,
    spread_ratio,
)

STORED = "boundaries.json"
MOST_CELLS = 4
"""Among how many primary cells the false alarms may be shared out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """All that the lines depend on; two equal designs have equal lines.

    `alpha` is the chance of a false alarm in any primary cell when each is slower by exactly the
    tolerance, `beta` that of passing a cell that is slower by exactly the margin. The simulated
    noise is normal, but a share `contamination` of runs in each arm is slower by
    `contamination_sd`; the calibrated sd is itself only known with `prior_df` degrees of freedom.
    Cells are measured in the same starts: they share `shared` of their variance, and all of a bad
    run. (Four cells that share nothing err a tenth more often than `alpha`, one without any bad
    run a twentieth.)
    """

    seed: int = 20260101
    jobs: int = 100_000
    first_look: int = 3
    first_regression: int = 5
    last_look: int = 14
    alpha: float = 0.025
    beta: float = 0.035
    regression_shape: float = 0.1
    pass_shape: float = 0.5
    prior_df: int = 20
    contamination: float = 0.03
    contamination_sd: float = 4.0
    shared: float = 0.5
    spread_held: float = 0.02
    spread_low: float = 0.0001
    location_clip: float = LOCATION_CLIP
    scale_clip: float = SCALE_CLIP

    @property
    def looks(self) -> range:
        """The numbers of pairs after which the job looks."""
        return range(self.first_look, self.last_look + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """Calibrated lines, in standard errors; one number a look, from the first look on.

    `regression[p - 1]` is for p primary cells. Before `first_regression` no evidence is enough.
    `spread_low` and `spread_high` bound the job's scatter over the calibrated one: over the upper
    one, as a share `spread_held` of sound jobs is at a look, the job's own scatter counts; under
    the lower one, the pairs are too alike to be measurements.
    """

    design: Design
    regression: tuple[tuple[float, ...], ...]
    passing: tuple[float, ...]
    spread_low: tuple[float, ...]
    spread_high: tuple[float, ...]

    def to_regress(self, pairs: int, cells: int) -> float:
        """Standard errors by which a loss must exceed the tolerance."""
        if pairs < self.design.first_regression:
            return float("inf")
        return self.regression[cells - 1][pairs - self.design.first_regression]

    def to_pass(self, pairs: int) -> float:
        """Standard errors by which a loss must stay under the margin."""
        return self.passing[pairs - self.design.first_look]

    def spread(self, pairs: int) -> tuple[float, float]:
        """Least and most scatter, over the calibrated one, at which this look may decide."""
        index = pairs - self.design.first_look
        return self.spread_low[index], self.spread_high[index]


@cache
def stored() -> Boundaries:
    """The lines the gate uses, calibrated once and kept beside this module with their design."""
    data = resources.files(__package__).joinpath(STORED).read_bytes()
    return from_json(data, Boundaries, origin=STORED)


def calibrate(design: Design) -> Boundaries:
    """Place the lines by simulation; the same design always gives the same lines."""
    scores, doubted, ratios = _simulate(design)
    looks = np.array(design.looks)
    late = looks >= design.first_regression
    return Boundaries(
        design=design,
        regression=tuple(
            _line(
                doubted[:, :cells, late].max(axis=1),
                looks[late],
                design.regression_shape,
                design.alpha,
            )
            for cells in range(1, MOST_CELLS + 1)
        ),
        passing=_line(-scores, looks, design.pass_shape, design.beta),
        spread_low=_rounded(np.quantile(ratios, design.spread_low, axis=0)),
        spread_high=_rounded(np.quantile(ratios, 1 - design.spread_held, axis=0)),
    )


def _simulate(design: Design) -> tuple[Array, Array, Array]:
    """What pairs whose true loss is 0 show at each look.

    The standard scores of a pass (jobs, looks), those of a regression (jobs, cells, looks), and the
    spread ratios (jobs, looks). Single-cell numbers are of the first cell.
    """
    rng = np.random.default_rng(design.seed)
    shape = (design.jobs, MOST_CELLS, design.last_look)
    freedom = rng.chisquare(design.prior_df, shape[:2])
    prior_sd = np.sqrt(freedom / design.prior_df)
    losses = np.sqrt(1 - design.shared) * rng.standard_normal(shape)
    one_run = (design.jobs, 1, design.last_look)
    losses += np.sqrt(design.shared) * rng.standard_normal(one_run)
    for sign in (1, -1):  # a slow run of the candidate, one of the base
        losses += sign * design.contamination_sd * (rng.random(one_run) < design.contamination)
    scores, doubted, ratios = [], [], []
    for pairs in design.looks:
        seen = losses[..., :pairs]
        location, sd = estimate(seen, prior_sd, design.prior_df)
        scores.append(location[:, 0] / (sd[:, 0] / np.sqrt(pairs)))
        doubted.append(location / (doubtful_sd(seen, location, sd, prior_sd) / np.sqrt(pairs)))
        ratios.append(spread_ratio(seen[:, 0], prior_sd[:, 0]))
    return np.stack(scores, axis=1), np.stack(doubted, axis=-1), np.stack(ratios, axis=1)


def _line(scores: Array, looks: Array, shape: float, error: float) -> tuple[float, ...]:
    weights = (looks / looks[-1]) ** (0.5 - shape)
    height = np.quantile((scores * weights).max(axis=1), 1 - error)
    return _rounded(height / weights)


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
