"""Where the paired losses lie and how far they scatter, whatever one bad run among them does.

All functions work along the last axis, so that a job and a simulation of many jobs run the very
same code: what the simulation says of error rates is said of the estimator that judges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LOCATION_CLIP = 1.5
"""Deviations from the median beyond this many calibrated sd count no further (Huber 1964)."""
SCALE_CLIP = 3.0
"""Likewise for the squares that make the scale."""
_MAD_TO_SD = 1.4826  # median absolute deviation of a normal distribution, in sd
_WINSOR = 2.0
_WINSOR_VARIANCE = 0.9205  # variance of a standard normal winsorised at 2


def estimate(losses: ArrayLike, prior_sd: ArrayLike, prior_df: float) -> tuple[Array, Array]:
    """Return location and sd of one pair, estimated from `losses` (..., k), k >= 2.

    The location is the median plus the mean of the deviations from it, clipped at 1.5 calibrated
    sd: a single bad run moves it by at most 1.5 sd / k. The sd is shrunk to the calibrated
    `prior_sd` (...), which counts as `prior_df` degrees of freedom: three pairs alone know
    next to nothing of their own scatter.
    """
    values, sd = np.asarray(losses, np.float64), np.asarray(prior_sd, np.float64)
    pairs = values.shape[-1]
    median = np.median(values, axis=-1)
    location = median + _clipped(values, median, LOCATION_CLIP * sd).mean(axis=-1)
    squares = (_clipped(values, location, SCALE_CLIP * sd) ** 2).sum(axis=-1)
    return location, np.sqrt((prior_df * sd**2 + squares) / (prior_df + pairs - 1))


def doubtful_sd(losses: ArrayLike, location: Array, sd: Array, prior_sd: ArrayLike) -> Array:
    """Return the sd of one pair by which a loss is proven: the larger of `sd` and the job's own.

    Shrinking protects a job from its own luck, but also from what it shows of a host that has
    become noisier than it was calibrated. Who accuses must not lean on the calibration alone.
    """
    values, prior = np.asarray(losses, np.float64), np.asarray(prior_sd, np.float64)
    squares = (_clipped(values, location, SCALE_CLIP * prior) ** 2).sum(axis=-1)
    own = np.sqrt(squares / (values.shape[-1] - 1))
    found: Array = np.maximum(sd, own)
    return found


def spread_ratio(losses: ArrayLike, prior_sd: ArrayLike) -> Array:
    """Return the scatter of `losses` (..., k) over the calibrated sd.

    The pair furthest from the median is left out: one bad run is no sign of a noisier host. What
    ratios chance explains is a matter of simulation (`boundaries`), so no factor makes it unbiased.
    """
    values = np.asarray(losses, np.float64)
    median = np.median(values, axis=-1)
    deviations = np.sort(np.abs(values - median[..., None]), axis=-1)[..., :-1]
    squares = (deviations**2).sum(axis=-1) / (values.shape[-1] - 1)
    ratio: Array = np.sqrt(squares) / np.asarray(prior_sd)
    return ratio


def robust_sd(values: ArrayLike) -> Array:
    """Return the sd of `values` (..., n) without what single outliers add.

    Values are winsorised at two robust sd around the median; the factor makes the result
    unbiased, up to terms of 1/n, for normal values.
    """
    array = np.asarray(values, np.float64)
    median = np.median(array, axis=-1)
    mad = _MAD_TO_SD * np.median(np.abs(array - median[..., None]), axis=-1)
    clipped = _clipped(array, median, _WINSOR * mad)
    squares = (clipped**2).sum(axis=-1) / (array.shape[-1] - 1)
    sd: Array = np.sqrt(squares / _WINSOR_VARIANCE)
    return sd


def _clipped(values: Array, centre: Array, limit: Array) -> Array:
    bound = limit[..., None]
    return np.clip(values - centre[..., None], -bound, bound)
