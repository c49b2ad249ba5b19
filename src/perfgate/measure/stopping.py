"""When a load has run for long enough, seen from the rounds that have passed.

The rule looks at the scatter of the rounds, never at how fast they are or at a limit: stopping at
a moment when the number looks good would make it look better than it is. What remains is that a run
tends to stop where the scatter happens to be small, so that an interval computed from the same
rounds is narrower than it claims (Chow and Robbins, "On the asymptotic theory of fixed-width
sequential confidence intervals for the mean", Annals of Mathematical Statistics 36(2), 1965: it
holds in the limit of many rounds). So no verdict ever rests on it: the gate takes one number from
each run and its error from the scatter between runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

import scipy

from perfgate.model import Sampling

LEAST_ROUNDS = 4
_CONFIDENCE = 0.95


def goes_on(sampling: Sampling, rates: Sequence[float]) -> bool:
    """Whether another round is due after rounds of these rates."""
    if len(rates) < sampling.rounds:
        return True
    if sampling.half_width is None or len(rates) >= sampling.most_rounds:
        return False
    return half_width(rates) > sampling.half_width


def half_width(rates: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean rate, as a share of it, by Student's t.

    Infinite for fewer than four rounds, whose scatter says nothing.
    """
    mean = fmean(rates) if rates else 0.0
    if len(rates) < LEAST_ROUNDS or not mean:
        return float("inf")
    quantile = float(scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, len(rates) - 1))
    return float(quantile * stdev(rates) / len(rates) ** 0.5 / mean)
