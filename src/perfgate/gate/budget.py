"""What a host's own noise allows: power, cost and the smallest loss seen, by budget.

Jobs are made from the calibrated runs themselves: each start draws a boot of the calibration, all
cells of it together, relative to its session's median. Heavy tails, two modes and what the cells
share are thus the host's own, not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfgate.gate.estimator import Array
from perfgate.gate.losses import log_cost
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.rehearsal import arms, rehearse
from perfgate.gate.sequential import smallest_seen
from perfgate.gate.series import Rules
from perfgate.model import Verdict

JOBS = 2000
SEED = 20260101
ENOUGH_POWER = 0.95

Sessions = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What jobs of at most `pairs` pairs would do on this host; shares of jobs, minutes of target.

    `power` is for a loss of the margin in the primary cell that is noisiest for it,
    `smallest_seen` the loss that is found in 80 % of the jobs.
    """

    pairs: int
    most_minutes: float
    false_alarms: float
    inconclusive: float
    minutes: float
    power: float
    wrong_pass: float
    smallest_seen: float


def prospects(
    runs: Mapping[str, Sessions],
    pair_sd: Mapping[str, float],
    primary: Sequence[str],
    rules: Rules,
    start_minutes: float,
) -> tuple[Prospect, ...]:
    """Rehearse shadow A/A jobs, and jobs with a planted loss, for every number of pairs."""
    rng = np.random.default_rng(SEED)
    residuals = _residuals(runs, primary)
    drawn = residuals[rng.integers(len(residuals), size=(JOBS, 2 * rules.last))]
    sd = np.tile([pair_sd[cell] for cell in primary], (JOBS, 1))
    _, margins = rules.log_limits(primary)
    worst = int(np.argmax(sd[0] / margins))
    slower = drawn.copy()
    slower[:, arms(drawn.shape[1], screened=False), worst] += margins[worst]
    first = rules.boundaries.design.first_regression
    return tuple(
        _prospect(drawn, slower, sd, replace(rules, most_pairs=pairs), start_minutes, primary)
        for pairs in range(first, rules.last + 1)
    )


def recommended(found: Sequence[Prospect]) -> Prospect | None:
    """The cheapest budget that catches the margin in 95 % of jobs; None if none does."""
    enough = [one for one in found if one.power >= ENOUGH_POWER]
    return min(enough, key=lambda one: one.pairs, default=None)


def _prospect(  # noqa: PLR0917 - what one budget is asked about
    honest: Array,
    slower: Array,
    sd: Array,
    rules: Rules,
    start_minutes: float,
    cells: Sequence[str],
) -> Prospect:
    same, lost = (rehearse(runs, sd, rules, names=cells) for runs in (honest, slower))
    return Prospect(
        pairs=rules.last,
        most_minutes=2 * rules.last * start_minutes,
        false_alarms=same.share(Verdict.REGRESSION),
        inconclusive=same.share(Verdict.INCONCLUSIVE),
        minutes=float(same.starts.mean()) * start_minutes,
        power=lost.share(Verdict.REGRESSION),
        wrong_pass=lost.share(Verdict.PASS, Verdict.IMPROVEMENT),
        smallest_seen=max(
            smallest_seen(rules, float(one), len(cells), cell=cell)
            for cell, one in zip(cells, sd[0], strict=True)
        ),
    )


def _residuals(runs: Mapping[str, Sessions], primary: Sequence[str]) -> Array:
    """Log costs (boots, cells) of the first window of each boot, less their session's median."""
    columns = []
    for cell in primary:
        metric = BY_NAME[cell.rpartition(":")[2]]
        costs = np.array(
            [[log_cost(metric, boot[0]) for boot in session] for session in runs[cell]]
        )
        columns.append((costs - np.median(costs, axis=1, keepdims=True)).ravel())
    return np.stack(columns, axis=-1)
