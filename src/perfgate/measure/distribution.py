"""A sample in few numbers, without those it is too small to hold.

A percentile is an order statistic. Of n independent requests, the chance that all lie below the
true q-quantile is q^n; only when it is under 5 % does the sample reach beyond that quantile
with 95 % confidence: n >= 59 for P95, n >= 299 for P99. Below, a "P95" is just a large value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfgate.errors import NoSamplesError
from perfgate.model import Distribution

P95_REQUESTS = 60
P99_REQUESTS = 300


def describe(values: NDArray[np.float64], requests: int) -> Distribution:
    """Sum up `values`, which stem from `requests` independent requests.

    Percentiles interpolate linearly between order statistics (type 7 of Hyndman and Fan 1996).
    The token gaps of one request are not independent of each other, so that percentiles of
    gaps are held to the number of requests too.

    Raises NoSamplesError if there is no value.
    """
    if not values.size:
        msg = "no value to describe"
        raise NoSamplesError(msg)
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return Distribution(
        n=int(values.size),
        mean=float(values.mean()),
        minimum=float(values.min()),
        p50=float(p50),
        p95=float(p95) if requests >= P95_REQUESTS else None,
        p99=float(p99) if requests >= P99_REQUESTS else None,
        maximum=float(values.max()),
    )
