"""The history of one cell as an SVG: its values over the anchor, and the CUSUM below."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

import numpy as np

from perfgate.gate.drift import ALARM_SD, ANCHOR, Drift


def history_svg(title: str, log_costs: Sequence[float], seen: Drift | None) -> str:
    """Draw losses against the anchor, in %, one a merge, and the CUSUM with its alarm line."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a third of a second at each start

    costs = np.asarray(log_costs, np.float64)
    merges = np.arange(1, len(costs) + 1)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    upper.plot(merges, 100 * -np.expm1(np.median(costs[:ANCHOR]) - costs), "o-", ms=3, lw=0.8)
    upper.axhline(0, color="0.6", lw=0.8)
    upper.axvspan(0.5, min(ANCHOR, len(costs)) + 0.5, color="0.93", label="anchor")
    upper.set_title(title)
    upper.set_ylabel("slower than the anchor, %")
    upper.legend(loc="upper left")
    if seen is not None:
        lower.plot(merges, seen.scores, color="tab:red", lw=1)
        if seen.alarm is not None:
            lower.axvline(seen.alarm + 1, color="tab:red", lw=0.8, ls=":")
    lower.axhline(ALARM_SD, color="0.4", lw=0.8, ls="--")
    lower.set_ylabel("CUSUM, sd")
    lower.set_xlabel("merge")
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
