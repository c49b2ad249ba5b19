"""How peers would decide on the same runs: one cell, True where the job goes red.

Each rule is the documented default of its tool, put into log costs. `Streams` holds what a job has:
stored sessions of other days (one run each), a stored session of five runs, today's runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, ttest_ind

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_WINDOWS = 18
_WINDOW_SD = 0.02
_MEMORY = 0.7


@dataclass(frozen=True)
class Streams:
    """Log costs of one cell: `stored` (jobs, 20) and `five` (jobs, 5) of the base on other days.

    `base` and `candidate` (jobs, 14) are today's runs.
    """

    stored: Array
    five: Array
    base: Array
    candidate: Array
    rng: np.random.Generator


Decision = tuple[Flags, Array]  # red, and the number of servers started


def _each(red: Flags, starts: float) -> Decision:
    return red, np.full(red.shape, starts)


def bare_floor(streams: Streams) -> Decision:
    """One run under 95 % of the stored median throughput (SGLang's tests, TensorRT-LLM's CSV)."""
    limit = np.median(streams.stored, axis=1) - np.log(0.95)
    return _each(streams.candidate[:, 0] > limit, 1)


def pytest_benchmark(streams: Streams) -> Decision:
    """`--benchmark-compare-fail=mean:5%`: one run against one saved run."""
    return _each(streams.candidate[:, 0] > streams.stored[:, -1] + np.log(1.05), 1)


def best_of_three(streams: Streams) -> Decision:
    """Run again until the floor is met, three times at most."""
    limit = np.median(streams.stored, axis=1) - np.log(0.95)
    slow = streams.candidate[:, :3] > limit[:, None]
    starts = 1.0 + slow[:, 0] + (slow[:, 0] & slow[:, 1])
    return slow.all(axis=1), starts


def welch(streams: Streams) -> Decision:
    """Welch's t at 5 %, five runs against five stored ones of another day."""
    test = ttest_ind(streams.candidate[:, :5], streams.five, axis=1, equal_var=False)
    return _each((test.pvalue < 0.05) & (test.statistic > 0), 5)


def mann_whitney(streams: Streams) -> Decision:
    """Mann-Whitney at 5 %, five against five (Google benchmark's compare.py, Go's benchstat)."""
    test = mannwhitneyu(streams.candidate[:, :5], streams.five, axis=1, method="exact")
    slower = np.median(streams.candidate[:, :5], axis=1) > np.median(streams.five, axis=1)
    return _each((test.pvalue < 0.05) & slower, 5)


def asv_continuous(streams: Streams, factor: float = 1.1) -> Decision:
    """`asv continuous`: ratio of medians over 1.1 and Mann-Whitney p < 0.002, two runs an arm.

    Its samples are the 5 s bins of each run, taken as independent.
    """
    one, two = (_windows(arm[:, :2], streams.rng) for arm in (streams.base, streams.candidate))
    ratio = np.median(two, axis=1) - np.median(one, axis=1)
    p_value = mannwhitneyu(two, one, axis=1, method="asymptotic").pvalue
    return _each((ratio > np.log(factor)) & (p_value < 0.002), 4)


def tensorrt_llm(streams: Streams) -> Decision:
    """TensorRT-LLM's perf sanity: 10 % under the P95 of a three-day rolling mean of throughput."""
    days = streams.stored
    rolling = (days[:, :-2] + days[:, 1:-1] + days[:, 2:]) / 3
    baseline = np.quantile(rolling, 0.05, axis=1)  # the best throughput is the lowest cost
    return _each(streams.candidate[:, 0] > baseline - np.log(0.9), 1)


def conbench(streams: Streams) -> Decision:
    """Conbench: more than five sd from the mean of earlier commits."""
    mean, sd = streams.stored.mean(axis=1), streams.stored.std(axis=1, ddof=1)
    return _each(streams.candidate[:, 0] > mean + 5 * sd, 1)


RULES = {
    "bare floor": bare_floor,
    "pytest-benchmark mean:5%": pytest_benchmark,
    "best of 3": best_of_three,
    "Welch, 5 v 5 stored": welch,
    "Mann-Whitney, 5 v 5 stored": mann_whitney,
    "asv continuous": asv_continuous,
    "TensorRT-LLM rolling P95": tensorrt_llm,
    "Conbench z 5": conbench,
}


def _windows(runs: Array, rng: np.random.Generator) -> Array:
    """Spread each run over its bins: correlated, around the run's own mean."""
    bins = rng.standard_normal((*runs.shape, _WINDOWS))
    for i in range(1, _WINDOWS):
        bins[..., i] = _MEMORY * bins[..., i - 1] + np.sqrt(1 - _MEMORY**2) * bins[..., i]
    bins -= bins.mean(axis=-1, keepdims=True)
    spread: Array = (runs[..., None] + _WINDOW_SD * bins).reshape(len(runs), -1)
    return spread
