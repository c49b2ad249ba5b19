"""The screen: one run of the candidate against stored sessions. It can pass, it can never fail.

A stored run was taken on another day: its session (host, driver, clocks, temperature) does not
cancel. The bound therefore treats each stored session as one sample of all that varies between
days, and asks whether the candidate is certainly not slower by the margin.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from perfgate.gate.estimator import Array, estimate, robust_sd

LEAST_SESSIONS = 10
OLDEST_DAYS = 30
ERROR = 0.01
"""The chance that the screen passes a cell which is slower by exactly the margin."""


def upper_loss_bound(
    stored_log: ArrayLike, candidate_log: ArrayLike, *, error: float = ERROR
) -> Array:
    """Upper predictive bound of the candidate's log-loss.

    `stored_log` (..., sessions) holds one log cost a session, `candidate_log` (...) that of the
    candidate's run; a higher cost is slower. The bound is that of a t distribution for one further
    run (Hahn 1970), with centre and sd that single outliers do not move.
    """
    costs = np.asarray(stored_log, np.float64)
    sessions, sd = costs.shape[-1], robust_sd(costs)
    centre, _ = estimate(costs, np.maximum(sd, np.finfo(np.float64).tiny), sessions - 1)
    bound: Array = np.asarray(candidate_log) - centre + _reach(sessions, error) * sd
    return bound


def upper_run_bound(stored_log: ArrayLike, *, error: float = ERROR) -> Array:
    """Upper predictive bound of the log cost of one further run like the stored ones.

    Nothing is clipped: of a few runs an outlier is news, and it only makes the bound wider.
    """
    costs = np.asarray(stored_log, np.float64)
    bound: Array = costs.mean(axis=-1) + _reach(costs.shape[-1], error) * costs.std(axis=-1, ddof=1)
    return bound


def _reach(sessions: int, error: float) -> float:
    """The sd of one further run's prediction, times its quantile, in sd of the sessions."""
    return float(scipy.stats.t.ppf(1 - error, sessions - 1) * np.sqrt(1 + 1 / sessions))
