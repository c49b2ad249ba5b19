"""Whether the window is steady at all: a run that never settles has no throughput to speak of.

Some servers warm up for longer than anyone waits, some get slower the longer they run (Barrett et
al., "Virtual machine warmup blows hot and cold", OOPSLA 2017). Trimming such a run gives a
number that another run will not; so it is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from perfgate.measure.window import Window

Array = NDArray[np.float64]

MSER_BATCH = 5
BATCHES = 20
_TREND_ERROR = 0.001
_LEAST = 4
_STEP_ERRORS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """What the window's token rate does: shares of its mean.

    `trend` is what a straight line through the batch means gains from start to end, `cut` the
    share of the window that MSER-5 would drop as a warm-up, and `step` by how much what it drops
    differs from the rest. `trend` and `step` are 0 where chance explains them.
    """

    trend: float
    cut: float
    step: float

    def drift(self) -> float:
        """The part that is no steady state: a trend, or a warm-up beyond half of the window."""
        late = self.step if self.cut > 1 / 2 else 0.0
        return max(self.trend, late, key=abs)


def steadiness(window: Window) -> Steadiness:
    """Look at the token rate of a window in 100 bins."""
    rates = bin_rates(window, MSER_BATCH * BATCHES)
    mean = float(rates.mean())
    if not mean:
        return Steadiness(trend=0.0, cut=0.0, step=0.0)
    batches = rates.reshape(BATCHES, MSER_BATCH).mean(axis=1)
    cut = mser_cut(batches)
    return Steadiness(
        trend=trend(batches) / mean, cut=cut / BATCHES, step=_step(batches, cut) / mean
    )


def _step(batches: Array, cut: int) -> float:
    """The difference across the cut; 0 if the scatter explains it, five errors being asked for.

    The cut was chosen where the difference is largest, so the usual two or three are too few.
    """
    before, after = batches[:cut], batches[cut:]
    if not cut:
        return 0.0
    difference = float(before.mean() - after.mean())
    pooled = (before.var() * len(before) + after.var() * len(after)) / (len(batches) - 2)
    error = np.sqrt(pooled * (1 / len(before) + 1 / len(after)))
    return difference if abs(difference) > _STEP_ERRORS * error else 0.0


def bin_rates(window: Window, bins: int) -> Array:
    """Tokens a second in each of `bins` equal parts of the window."""
    edges = np.linspace(window.start_ns, window.end_ns, bins + 1)
    times, tokens = window.arrivals
    counts, _ = np.histogram(times, bins=edges, weights=tokens)
    rates: Array = counts / (window.seconds / bins)
    return rates


def mser_cut(batches: Array) -> int:
    """How many leading batches to drop so that the rest has the least standard error.

    MSER-5 of White, Cobb and Spratt (Winter Simulation Conference 2000), given means of five. The
    last few batches are never left alone: their scatter says nothing.
    """
    kept = len(batches)
    scores = [batches[cut:].var() / (kept - cut) for cut in range(kept - _LEAST)]
    return int(np.argmin(scores))


def trend(batches: Array) -> float:
    """What a straight line gains over all batches; 0 unless chance is ruled out (p < 0.001).

    The line's error is that of batch means, which are close to independent (Law and Carson 1979).
    """
    places = np.arange(len(batches)) - (len(batches) - 1) / 2
    slope = float((places * batches).sum() / (places**2).sum())
    rest = batches - batches.mean() - slope * places
    freedom = len(batches) - 2
    error = np.sqrt((rest**2).sum() / freedom / (places**2).sum())
    if abs(slope) <= scipy.stats.t.ppf(1 - _TREND_ERROR / 2, freedom) * error:
        return 0.0
    return slope * len(batches)
