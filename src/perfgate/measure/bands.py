"""How far a number may be off, by the scatter inside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import scipy

CONFIDENCE = 0.95


class Band(NamedTuple):
    """A confidence interval of 95 %, in the unit of what it surrounds."""

    low: float
    high: float


def mean_band(values: Sequence[float]) -> Band | None:
    """The band of the mean of `values` by Student's t; None under two values.

    Rounds of one load count as independent (batch means: Law and Carson 1979). Those shorter than
    a request's latency share requests, so that the band is then the least that it can be. What
    changes from boot to boot is not in it.
    """
    if len(values) < 2:  # noqa: PLR2004 - one value has no scatter
        return None
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * stdev(values) / len(values) ** 0.5
    return Band(fmean(values) - half, fmean(values) + half)


def quantile_band(sample: Sequence[float], quantile: float) -> Band | None:
    """The band of a quantile between two order statistics; None if the sample does not reach.

    The k-th smallest of n lies under the quantile with a chance that is binomial, whatever the
    distribution (David and Nagaraja, "Order Statistics", 2003, section 7.1). Requests that ran in
    one batch are not independent, so that this is the least that the band can be.
    """
    count, tail = len(sample), (1 - CONFIDENCE) / 2
    low = int(scipy.stats.binom.ppf(tail, count, quantile))
    high = int(scipy.stats.binom.ppf(1 - tail, count, quantile)) + 1
    if low < 1 or high > count:
        return None
    ordered = np.sort(np.asarray(sample, dtype=np.float64))
    return Band(float(ordered[low - 1]), float(ordered[high - 1]))
