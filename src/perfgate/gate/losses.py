"""Loss: by how much the candidate is slower, as one number that any metric can give.

    loss = log(cost of the candidate / cost of the base)

where the cost is the value of a metric that should be low, and 1 / value of one that should be
high. Above 0 is slower. Logs make losses of both kinds equal (a server that does 5 % less work in
the same time takes 1 / 0.95 as long), symmetric, and additive over pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from perfgate.gate.metrics import Metric


def log_cost(metric: Metric, value: float) -> float:
    """The log of what `value` costs its user; raises ValueError for a value that is not above 0."""
    return -math.log(value) if metric.higher_is_better else math.log(value)


def pair_losses(
    metric: Metric, base: Sequence[float], candidate: Sequence[float]
) -> tuple[float, ...]:
    """The log-loss of each pair of runs, the i-th of one arm with the i-th of the other."""
    pairs = zip(base, candidate, strict=False)  # an odd run waits for its partner
    return tuple(log_cost(metric, two) - log_cost(metric, one) for one, two in pairs)


def from_fraction(fraction: float) -> float:
    """The log-loss of a server that does `fraction` less work in the same time."""
    return -math.log1p(-fraction)


def to_fraction(loss: float) -> float:
    """The share of the base's work that a log-loss costs: 0.05 is 5 % slower, below 0 faster."""
    return -math.expm1(-loss)
