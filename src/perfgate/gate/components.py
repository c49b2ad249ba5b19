"""How much of the noise is the day, the boot and the window: nested variance components.

Cost of a run = level + session + boot + window, each independent of the others. Only what varies
within a session enters a pair of that session; what varies between sessions is why a stored run
can screen and never fail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike

from perfgate.errors import NoSamplesError
from perfgate.gate.estimator import Array, robust_sd

_BIAS_SEED = 20260101
_BIAS_JOBS = 4000

Boot = Sequence[float]
Session = Sequence[Boot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Standard deviations of log cost; a component is None where nothing was repeated at its level.

    `window_sd` is that of one window. `boots_df` are the degrees of freedom behind `boot_sd`.
    """

    session_sd: float | None
    boot_sd: float | None
    window_sd: float | None
    sessions: int
    boots: int
    boots_df: int


def components(sessions: Sequence[Session]) -> Components:
    """Estimate the components from `sessions` of boots of windows, each a log cost.

    Method of moments of a nested one-way layout (Searle, Casella and McCulloch, "Variance
    Components", 1992, chapter 3), with the mean number of windows and boots where they differ; a
    negative estimate is 0. Raises NoSamplesError where there is nothing.
    """
    boots = [boot for session in sessions for boot in session if boot]
    if not boots:
        msg = "no run to estimate variance components from"
        raise NoSamplesError(msg)
    windows = fmean(map(len, boots))
    per_session = len(boots) / len(sessions)
    window = _pooled_variance(boots)
    means = [[fmean(boot) for boot in session if boot] for session in sessions]
    boot_means = _pooled_variance(means)
    session_means = _pooled_variance([[fmean(session) for session in means if session]])
    boot = None if boot_means is None else max(0.0, boot_means - (window or 0.0) / windows)
    session = (
        None
        if session_means is None
        else max(0.0, session_means - (boot_means or 0.0) / per_session)
    )
    return Components(
        session_sd=_root(session),
        boot_sd=_root(boot),
        window_sd=_root(window),
        sessions=len(sessions),
        boots=len(boots),
        boots_df=len(boots) - len(sessions),
    )


def run_sd(runs: ArrayLike) -> Array:
    """Return the sd of single runs within their session, from `runs` (..., sessions, boots).

    Runs are taken relative to their session's median, so that the days drop out, and single
    outliers add little. The sd of a pair is this times the root of 2.
    """
    values = np.asarray(runs, np.float64)
    raw: Array = _within(values) / _bias(*values.shape[-2:])
    return raw


def _within(values: Array) -> Array:
    centred = values - np.median(values, axis=-1)[..., None]
    return robust_sd(centred.reshape(*values.shape[:-2], -1))


@cache
def _bias(sessions: int, boots: int) -> float:
    """What `_within` gives, in the root mean square, for normal runs of sd 1."""
    normal = np.random.default_rng(_BIAS_SEED).standard_normal((_BIAS_JOBS, sessions, boots))
    return float(np.sqrt((_within(normal) ** 2).mean()))


def _pooled_variance(groups: Sequence[Sequence[float]]) -> float | None:
    """The variance within groups; None if no group repeats anything."""
    freedom = sum(len(group) - 1 for group in groups if group)
    if not freedom:
        return None
    squares = sum((value - fmean(group)) ** 2 for group in groups if group for value in group)
    return squares / freedom


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)
