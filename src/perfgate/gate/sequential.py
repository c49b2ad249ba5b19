"""The paired gate: base and candidate in turn, a look after every pair, stop as soon as decided.

Asked at each look: is a loss proven in any primary cell; is the lack of one proven in all; are
there pairs left. A job noisier than its calibration is judged by its own noise, one far off it not
at all; and there is no pass if the candidate has become two servers in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

from perfgate.errors import UsageError
from perfgate.gate.boundaries import MOST_CELLS
from perfgate.gate.looks import Flags, Look, look, two_clusters
from perfgate.gate.losses import from_fraction, log_cost, to_fraction
from perfgate.gate.multiplicity import discoveries, one_sided_p
from perfgate.gate.series import Advisory, CellState, Rules, Series, Standing
from perfgate.model import Verdict

_POWER_80 = 0.8416  # standard errors past a line at which it is crossed with a chance of 80 %


def stand(primary: Sequence[Series], rules: Rules) -> Standing:
    """Replay every look at the pairs so far and say where the job stands.

    The first decision holds: what was measured after it cannot unsay it. Raises UsageError for
    no primary cell or more than four, for the error is only shared out among so many.
    """
    if not 1 <= len(primary) <= MOST_CELLS:
        raise UsageError("primary cells", len(primary), f"1 to {MOST_CELLS} can share the error")
    if all(series.screened for series in primary):
        return Standing(
            verdict=Verdict.PASS, pairs=0, reason="the screen passed every primary cell"
        )
    pairs = min(len(series.losses) for series in primary)
    passed = np.array([series.screened for series in primary])
    standing = Standing(verdict=None, pairs=pairs, reason="too few pairs to look at")
    for now in range(rules.boundaries.design.first_look, min(pairs, rules.last) + 1):
        seen = _look(primary, rules, now)
        passed |= seen.passes
        standing = _standing(primary, rules, now, seen, passed)
        if standing.verdict is not None:
            break
    return standing


def advise(secondary: Sequence[Series], rules: Rules) -> tuple[Advisory, ...]:
    """Tell which secondary cells look slower; they decide nothing."""
    design = rules.boundaries.design
    found: list[tuple[Series, int, float, float]] = []
    for series in secondary:
        pairs = min(len(series.losses), design.last_look)
        if pairs >= design.first_look:
            seen = _look([series], rules, pairs)
            score = float(seen.loss[0] / seen.error[0])
            p_value = one_sided_p(score, design.prior_df + pairs - 1)
            found.append((series, pairs, to_fraction(float(seen.loss[0])), p_value))
    told = discoveries({series.name: p_value for series, _, _, p_value in found})
    return tuple(
        Advisory(cell=series.name, pairs=pairs, loss=loss, p_value=p, told=series.name in told)
        for series, pairs, loss, p in found
    )


def _look(cells: Sequence[Series], rules: Rules, pairs: int) -> Look:
    tolerance, margin = rules.log_limits([series.name for series in cells])
    return look(
        np.array([series.losses[:pairs] for series in cells]),
        np.array([series.pair_sd for series in cells]),
        tolerance=tolerance,
        margin=margin,
        boundaries=rules.boundaries,
    )


def _standing(
    primary: Sequence[Series], rules: Rules, pairs: int, seen: Look, passed: Flags
) -> Standing:
    verdict, reason = _decide(primary, rules, pairs, seen, passed)
    return Standing(
        verdict=verdict,
        pairs=pairs,
        reason=reason,
        cells=tuple(
            _cell(series, rules, pairs, seen, index, passed=bool(passed[index]))
            for index, series in enumerate(primary)
        ),
    )


def _decide(
    primary: Sequence[Series], rules: Rules, pairs: int, seen: Look, passed: Flags
) -> tuple[Verdict | None, str]:
    last = pairs == rules.last
    lost, proven = bool(seen.regresses.any()), bool(passed.all())
    untrue = bool(seen.off_calibration or (seen.noisy and last and not (lost or proven)))
    if not (untrue or lost or proven or last):
        return None, "not decided yet"
    if lost and not untrue:
        return Verdict.REGRESSION, "a loss over the tolerance is proven"
    if split := [series.name for series in primary if _became_two(series, pairs)]:
        return Verdict.UNSTABLE, f"runs of the candidate fall into two groups: {', '.join(split)}"
    if untrue:
        return Verdict.INVALID, "the pairs scatter unlike the calibration of this host"
    return _proven(primary, rules, seen, proven=proven)


def _proven(
    primary: Sequence[Series], rules: Rules, seen: Look, *, proven: bool
) -> tuple[Verdict, str]:
    if not proven:
        return Verdict.INCONCLUSIVE, "the budget is spent and neither is proven"
    tolerance, _ = rules.log_limits([series.name for series in primary])
    if (seen.high < -tolerance).any():
        return Verdict.IMPROVEMENT, "a gain over the tolerance is proven, and no cell lost"
    return Verdict.PASS, "a loss of the margin is ruled out in every primary cell"


def _became_two(series: Series, pairs: int) -> bool:
    """Whether the candidate's runs fall into two groups and the base's do not."""
    run_sd = series.pair_sd / np.sqrt(2)
    base, candidate = (
        bool(two_clusters([log_cost(series.metric, value) for value in arm[:pairs]], run_sd))
        for arm in (series.base, series.candidate)
    )
    return candidate and not base


def _cell(
    series: Series, rules: Rules, pairs: int, seen: Look, index: int, *, passed: bool
) -> CellState:
    low, high = float(seen.low[index]), float(seen.high[index])
    return CellState(
        cell=series.name,
        pairs=pairs,
        base=median(series.base[:pairs]),
        candidate=median(series.candidate[:pairs]),
        loss=to_fraction(float(seen.loss[index])),
        low=to_fraction(low) if np.isfinite(low) else None,
        high=to_fraction(high),
        smallest_seen=smallest_seen(
            rules, float(seen.error[index]) * pairs**0.5, len(seen.loss), cell=series.name
        ),
        verdict=_cell_verdict(
            rules, series.name, high, regresses=bool(seen.regresses[index]), passed=passed
        ),
    )


def _cell_verdict(
    rules: Rules, cell: str, high: float, *, regresses: bool, passed: bool
) -> Verdict:
    if regresses:
        return Verdict.REGRESSION
    if not passed:
        return Verdict.INCONCLUSIVE
    gained = to_fraction(high) < -rules.of(cell).tolerance
    return Verdict.IMPROVEMENT if gained else Verdict.PASS


def smallest_seen(rules: Rules, pair_sd: float, cells: int, *, cell: str = "") -> float:
    """The loss found with a chance of 80 % at the last look, for pairs of `pair_sd`."""
    line = rules.boundaries.to_regress(rules.last, cells)
    if not np.isfinite(line):
        return 1.0
    tolerance = from_fraction(rules.of(cell).tolerance)
    return to_fraction(tolerance + (line + _POWER_80) * pair_sd / rules.last**0.5)
