"""Slow drift: many small losses, none of which a single merge could prove.

A CUSUM (Page 1954) of the cost of each merge against an anchor that does not move: the first
merges, until a person anchors anew. A rolling reference would follow the loss down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfgate.gate.estimator import robust_sd
from perfgate.gate.losses import to_fraction

ANCHOR = 20
"""Merges that make the anchor; fewer know their own sd too badly, and false alarms multiply."""
SLACK_SD = 0.5
ALARM_SD = 6.0
CLIP_SD = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The history of one cell.

    `scores` are the CUSUM in sd of the anchor, one a merge; `alarm` is the first merge that passes
    the line, `onset` the one after the CUSUM last was 0; `loss` is the share of the anchor's work
    that the merges since the onset lose (median).
    """

    scores: tuple[float, ...]
    alarm: int | None
    onset: int | None
    loss: float


def drift(log_costs: Sequence[float], *, anchor: int = ANCHOR) -> Drift | None:
    """Look for a lasting rise of the costs above those of the first `anchor` merges.

    None while there are no more than those. A single merge counts at most 3 sd, so that one bad run
    raises no alarm. An alarm is advice: the merge that happened to be last is not to blame.
    """
    if len(log_costs) <= anchor:
        return None
    costs = np.asarray(log_costs, np.float64)
    centre = float(np.median(costs[:anchor]))
    sd = max(float(robust_sd(costs[:anchor])), float(np.finfo(np.float64).eps))
    steps = np.clip((costs - centre) / sd, -CLIP_SD, CLIP_SD) - SLACK_SD
    scores = [0.0] * anchor
    for step in steps[anchor:]:
        scores.append(max(0.0, scores[-1] + float(step)))
    alarm = next((i for i, score in enumerate(scores) if score > ALARM_SD), None)
    if alarm is None:
        return Drift(scores=tuple(scores), alarm=None, onset=None, loss=0.0)
    onset = max(i for i in range(alarm) if scores[i] == 0) + 1
    loss = to_fraction(float(np.median(costs[onset:])) - centre)
    return Drift(scores=tuple(scores), alarm=alarm, onset=onset, loss=loss)
