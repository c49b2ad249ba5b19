"""The paired job in the words of a judgement: one finding a cell, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import scipy

from perfgate.gate import wording
from perfgate.gate.losses import pair_losses, to_fraction
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.pairing import Arm, PairedPlan, Start, Stop, series
from perfgate.gate.sequential import advise, smallest_seen
from perfgate.gate.series import Advisory, CellState, Rules
from perfgate.model import Finding, Judgement, Limits, Verdict

PAIRED = "paired"
_LEAST_WINDOWS = 2

_ADVICE = {
    Verdict.REGRESSION: "Find what slowed the candidate; its records lie beside the base.",
    Verdict.INCONCLUSIVE: "Raise the budget or lower the noise: perfgate calibrate says how.",
    Verdict.INVALID: "This says nothing about speed. Look at the host, then calibrate it again.",
    Verdict.UNSTABLE: "Look what differs between the candidate's starts: this needs a person.",
    Verdict.IMPROVEMENT: "If it lasts, hold it: perfgate baseline record.",
    Verdict.PASS: "",
}


def judge_pairs(
    plan: PairedPlan, rules: Rules, history: Sequence[Start], stop: Stop, *, records: str = ""
) -> Judgement:
    """Word the end of a paired job as a judgement on the point `paired`."""
    if not plan.restarts:
        return _of_windows(plan, rules, history, stop, records)
    secondary = advise(series(plan, plan.secondary, history), rules)
    cells = stop.standing.cells if stop.standing else ()
    return Judgement(
        point=PAIRED,
        verdict=stop.verdict,
        findings=(
            _end(plan, rules, history, stop),
            *(_cell(state, rules, stop.verdict) for state in cells),
            *(_advisory(one) for one in secondary if one.told),
        ),
        records=records,
    )


def _of_windows(
    plan: PairedPlan, rules: Rules, history: Sequence[Start], stop: Stop, records: str
) -> Judgement:
    told = tuple(_window(cell, history) for cell in (*plan.primary, *plan.secondary))
    end = Finding(
        check=PAIRED,
        verdict=stop.verdict,
        margin=rules.margin,
        message=f"{stop.reason} ({len(history)} windows: {_order(history)}).",
        advice="For a verdict let perfgate start both: --base with a git ref or a folder.",
    )
    findings = (end, *(one for one in told if one is not None))
    return Judgement(point=PAIRED, verdict=stop.verdict, findings=findings, records=records)


def _window(cell: str, history: Sequence[Start]) -> Finding | None:
    """The difference in one cell with a 95 % interval of the windows; None under two pairs."""
    metric = BY_NAME[cell.rpartition(":")[2]]
    base, candidate = (
        [start.values[cell] for start in history if start.sound and start.arm is arm] for arm in Arm
    )
    losses = np.array(pair_losses(metric, base, candidate))
    if losses.size < _LEAST_WINDOWS:
        return None
    reach = scipy.stats.t.ppf(0.975, losses.size - 1) * losses.std(ddof=1) / losses.size**0.5
    loss, low, high = (to_fraction(float(losses.mean() + shift)) for shift in (0.0, -reach, reach))
    return Finding(
        check="windows",
        metric=metric.name,
        unit=metric.unit,
        expected=median(base),
        got=median(candidate),
        verdict=Verdict.INCONCLUSIVE,
        message=f"{cell}: {_signed(loss)} than the base in {losses.size} pairs of windows "
        f"({_signed(low)} to {_signed(high)}, 95 % for these two servers as they run).",
    )


def _order(history: Sequence[Start]) -> str:
    return " ".join("B" if start.arm is Arm.BASE else "C" for start in history)


def _end(plan: PairedPlan, rules: Rules, history: Sequence[Start], stop: Stop) -> Finding:
    minutes = sum(start.minutes for start in history)
    return Finding(
        check=PAIRED,
        verdict=stop.verdict,
        margin=rules.margin,
        message=f"{stop.reason} ({len(history)} starts: {_order(history)}; {minutes:.1f} minutes). "
        f"{_could_see(plan, rules)}",
        advice=_ADVICE[stop.verdict],
    )


def _could_see(plan: PairedPlan, rules: Rules) -> str:
    """What the calibration lets this job find, whatever it then found."""
    losses = [
        smallest_seen(rules, plan.pair_sd[cell], len(plan.primary), cell=cell)
        for cell in plan.primary
    ]
    return f"All {rules.last} pairs would find a loss of {wording.percent(max(losses))} in 80 %."


def _cell(state: CellState, rules: Rules, ended: Verdict) -> Finding:
    metric = BY_NAME[state.cell.rpartition(":")[2]]
    side = "slower" if state.loss > 0 else "faster"
    limits = rules.of(state.cell)
    told = (
        f"{state.cell}: {wording.percent(state.loss)} {side} than the base in {state.pairs} pairs "
        f"({wording.amount(state.candidate, metric.unit)} against "
        f"{wording.amount(state.base, metric.unit)}); {_bounds(state, limits)}; smallest loss this "
        f"job could find in 80 %: {wording.percent(state.smallest_seen)}."
    )
    # A cell that proves nothing is no reason of its own once the job has ended otherwise.
    open_ = state.verdict is Verdict.INCONCLUSIVE and ended is not Verdict.INCONCLUSIVE
    return Finding(
        check="pairs",
        metric=metric.name,
        unit=metric.unit,
        expected=state.base,
        got=state.candidate,
        margin=limits.margin,
        verdict=Verdict.PASS if open_ else state.verdict,
        message=told,
    )


def _bounds(state: CellState, limits: Limits) -> str:
    most = f"at most {_signed(state.high)}"
    least = f"at least {_signed(state.low)} and " if state.low is not None else ""
    return (
        f"{least}{most} (a loss over {wording.percent(limits.tolerance)} must be proven, "
        f"one of {wording.percent(limits.margin)} ruled out)"
    )


def _signed(loss: float) -> str:
    return f"{wording.percent(loss)} {'slower' if loss > 0 else 'faster'}"


def _advisory(one: Advisory) -> Finding:
    return Finding(
        check="advisory",
        metric=one.cell.rpartition(":")[2],
        verdict=Verdict.PASS,
        message=f"{one.cell}: {_signed(one.loss)} than the base in {one.pairs} pairs "
        f"(p {one.p_value:.2g}). Secondary cells decide nothing; one in ten told is chance.",
    )
