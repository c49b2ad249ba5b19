"""One look at the pairs: which cells have proven a loss, which have proven the lack of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perfgate.gate.boundaries import Boundaries
from perfgate.gate.estimator import Array, doubtful_sd, estimate, spread_ratio

Flags = NDArray[np.bool_]

FAR_OFF = 2.0
"""How many times the scatter that chance explains is beyond doubt another host's."""
CLUSTER_GAP_SD = 4.0
TORN_SD = 3.0
"""Too early to prove a loss, no cell passes while a pair shows one so far from the rest."""
_CLUSTER_SHARE = 4  # a cluster holds a quarter of the runs
_LEAST_CLUSTER = 2


@dataclass(frozen=True, slots=True)
class Look:
    """What each cell (..., cells) shows; losses are logs, `error` the standard error of a pass.

    `noisy` and `off_calibration` (...) are of the job, for its cells share their runs: it scatters
    more than chance explains, so that its own scatter is used instead of the calibrated one; and
    so much, or so little, that its calibration is not of this host.
    """

    loss: Array
    error: Array
    low: Array
    high: Array
    regresses: Flags
    passes: Flags
    noisy: Flags
    off_calibration: Flags


def look(
    losses: ArrayLike,
    prior_sd: ArrayLike,
    *,
    tolerance: ArrayLike,
    margin: ArrayLike,
    boundaries: Boundaries,
) -> Look:
    """Look at `losses` (..., cells, k) of pairs whose calibrated sd is `prior_sd` (..., cells).

    A cell regresses when its lower bound lies over its tolerance and passes when its upper bound
    lies under its margin, both log-losses (cells,) or one for all. On a look too early to prove a
    loss a cell that shows one over its tolerance waits for the look that can.
    """
    values, sd0 = np.asarray(losses, np.float64), np.asarray(prior_sd, np.float64)
    cells, pairs = values.shape[-2:]
    loss, sd = estimate(values, sd0, boundaries.design.prior_df)
    least, most = boundaries.spread(pairs)
    ratio = np.sqrt((spread_ratio(values, sd0) ** 2).mean(axis=-1))
    noisy = ratio > most
    own = np.sqrt(((values - loss[..., None]) ** 2).sum(axis=-1) / (pairs - 1))
    doubtful = doubtful_sd(values, loss, sd, sd0)
    error, doubt = (
        np.where(noisy[..., None], np.maximum(scale, own), scale) / np.sqrt(pairs)
        for scale in (sd, doubtful)
    )
    low = loss - boundaries.to_regress(pairs, cells) * doubt
    high = loss + boundaries.to_pass(pairs) * error
    early = pairs < boundaries.design.first_regression
    # Of three pairs two may hold a bad run of the base: the third then is the one to believe.
    torn = values.max(axis=-1) - loss > TORN_SD * sd0
    shown = loss - boundaries.to_pass(pairs) * error > np.asarray(tolerance)
    # Two bad runs among few pairs look like a bad host; among many they do not.
    far_off = 2 * pairs >= boundaries.design.last_look
    return Look(
        loss=loss,
        error=error,
        low=low,
        high=high,
        regresses=low > np.asarray(tolerance),
        passes=(high < np.asarray(margin)) & ~(early & (torn | shown)),
        noisy=noisy,
        off_calibration=(ratio <= least) | (far_off & (ratio > FAR_OFF * most)),
    )


def two_clusters(values: ArrayLike, run_sd: ArrayLike) -> Flags:
    """Whether the runs (..., n) of one arm fall into two groups more than four sd apart.

    Each group must hold a quarter of the runs and two at least: one odd run is an outlier.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    runs = ordered.shape[-1]
    least = max(_LEAST_CLUSTER, -(-runs // _CLUSTER_SHARE))
    if runs < 2 * least:
        return np.zeros(ordered.shape[:-1], np.bool_)
    gaps = np.diff(ordered, axis=-1)[..., least - 1 : runs - least]
    far: Flags = gaps.max(axis=-1) > CLUSTER_GAP_SD * np.asarray(run_sd)
    return far
