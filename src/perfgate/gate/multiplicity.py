"""Many cells, few of them slower: what may be told of the secondary ones."""

from __future__ import annotations

from collections.abc import Mapping

import scipy

FALSE_DISCOVERY_RATE = 0.10


def one_sided_p(standard_errors: float, degrees_of_freedom: float) -> float:
    """The chance of so large a loss where there is none."""
    return float(scipy.stats.t.sf(standard_errors, degrees_of_freedom))


def discoveries(p_values: Mapping[str, float], rate: float = FALSE_DISCOVERY_RATE) -> list[str]:
    """The cells to tell, smallest p first: on average a share `rate` of them is there by chance.

    Benjamini and Hochberg, J. R. Stat. Soc. B 57(1), 1995; holds for cells that depend on each
    other as those of one run do (Benjamini and Yekutieli 2001, positive dependence).
    """
    ordered = sorted(p_values, key=lambda cell: p_values[cell])
    kept = [
        rank
        for rank, cell in enumerate(ordered, start=1)
        if p_values[cell] <= rate * rank / len(ordered)
    ]
    return ordered[: max(kept, default=0)]
