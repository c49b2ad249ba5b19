"""Many jobs at once: what the gate would have said, from arrays of made-up or replayed runs.

The same looks as in `sequential`, along arrays; a test holds the two to the same verdicts. This is
how error rates are known: of the gate itself (`benchmarks/gate_power.py`) and of a host
(`perfgate calibrate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfgate.gate.estimator import Array
from perfgate.gate.looks import Flags, Look, look, two_clusters
from perfgate.gate.screen import upper_loss_bound
from perfgate.gate.series import Rules
from perfgate.model import Verdict

VERDICTS = (
    Verdict.INCONCLUSIVE,
    Verdict.PASS,
    Verdict.IMPROVEMENT,
    Verdict.REGRESSION,
    Verdict.UNSTABLE,
    Verdict.INVALID,
)
_INCONCLUSIVE, _PASS, _IMPROVEMENT, _REGRESSION, _UNSTABLE, _INVALID = range(len(VERDICTS))


@dataclass(frozen=True, slots=True)
class Outcome:
    """For each job the index of its verdict in VERDICTS, and how many servers it started."""

    verdict: NDArray[np.int64]
    starts: NDArray[np.int64]

    def share(self, *verdicts: Verdict) -> float:
        """The share of jobs that got one of `verdicts`."""
        wanted = [VERDICTS.index(verdict) for verdict in verdicts]
        return float(np.isin(self.verdict, wanted).mean())


def arms(starts: int, *, screened: bool) -> Flags:
    """Which of `starts` servers are the candidate: B C C B B C C B ..., or C B B C ... screened.

    Either way each pair holds the next run of both arms, and a linear drift cancels over two pairs.
    """
    candidate_second = np.arange(starts) % 4 % 3 != 0  # B C C B
    chosen: Flags = ~candidate_second if screened else candidate_second
    return chosen


def rehearse(
    costs: Array,
    pair_sd: Array,
    rules: Rules,
    *,
    stored: Array | None = None,
    names: Sequence[str] | None = None,
) -> Outcome:
    """Judge jobs from the log costs (jobs, starts, cells) of their runs in the order of `arms`.

    `pair_sd` (jobs, cells) is what each job was calibrated with. With `stored` (jobs, cells,
    sessions), the candidate's first run is screened. `names` are those of the cells, where some
    have limits of their own.
    """
    jobs, starts, cells = costs.shape
    tolerance, margin = rules.log_limits(names or [""] * cells)
    candidate = arms(starts, screened=stored is not None)
    base, changed = (np.moveaxis(costs[:, arm], 1, -1) for arm in (~candidate, candidate))
    verdict = np.full(jobs, _INCONCLUSIVE)
    used = np.full(jobs, 2 * rules.last)
    passed = np.zeros(pair_sd.shape, np.bool_)
    if stored is not None:
        passed = upper_loss_bound(stored, changed[..., 0]) < margin
    done = passed.all(axis=-1)
    verdict[done], used[done] = _PASS, 1
    open_ = np.flatnonzero(~done)
    for pairs in range(rules.boundaries.design.first_look, rules.last + 1):
        if not open_.size:
            break
        one, two, sd = base[open_, :, :pairs], changed[open_, :, :pairs], pair_sd[open_]
        seen = look(
            two - one,
            sd,
            tolerance=tolerance,
            margin=margin,
            boundaries=rules.boundaries,
        )
        passed[open_] |= seen.passes
        split = (two_clusters(two, sd / 2**0.5) & ~two_clusters(one, sd / 2**0.5)).any(axis=-1)
        now = _decide(seen, passed[open_], split, tolerance, last=pairs == rules.last)
        decided = now >= 0
        verdict[open_[decided]], used[open_[decided]] = now[decided], 2 * pairs
        open_ = open_[~decided]
    return Outcome(verdict, used)


def _decide(
    seen: Look, passed: Flags, split: Flags, tolerance: Array, *, last: bool
) -> NDArray[np.int64]:
    """The verdict of each job at this look, -1 where it goes on; the order is `sequential`'s."""
    lost, all_passed = seen.regresses.any(axis=-1), passed.all(axis=-1)
    over = lost | all_passed
    untrue = seen.off_calibration | (seen.noisy & last & ~over)
    better = (seen.high < -tolerance).any(axis=-1)
    return np.select(
        [
            ~(untrue | over | last),
            lost & ~untrue,
            split,
            untrue,
            ~all_passed,
            better,
        ],
        [-1, _REGRESSION, _UNSTABLE, _INVALID, _INCONCLUSIVE, _IMPROVEMENT],
        default=_PASS,
    )
