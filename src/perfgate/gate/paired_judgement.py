"""The paired job in the words of a judgement: one finding a cell, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from perfgate.gate import wording
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.pairing import Arm, PairedPlan, Start, Stop, series
from perfgate.gate.sequential import advise, smallest_seen
from perfgate.gate.series import Advisory, CellState, Rules
from perfgate.model import Finding, Judgement, Verdict

PAIRED = "paired"

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


def _end(plan: PairedPlan, rules: Rules, history: Sequence[Start], stop: Stop) -> Finding:
    minutes = sum(start.minutes for start in history)
    starts = " ".join("B" if start.arm is Arm.BASE else "C" for start in history)
    return Finding(
        check=PAIRED,
        verdict=stop.verdict,
        margin=rules.margin,
        message=f"{stop.reason} ({len(history)} starts: {starts}; {minutes:.1f} minutes). "
        f"{_could_see(plan, rules)}",
        advice=_ADVICE[stop.verdict],
    )


def _could_see(plan: PairedPlan, rules: Rules) -> str:
    """What the calibration lets this job find, whatever it then found."""
    losses = [smallest_seen(rules, plan.pair_sd[cell], len(plan.primary)) for cell in plan.primary]
    return f"All {rules.last} pairs would find a loss of {wording.percent(max(losses))} in 80 %."


def _cell(state: CellState, rules: Rules, ended: Verdict) -> Finding:
    metric = BY_NAME[state.cell.rpartition(":")[2]]
    side = "slower" if state.loss > 0 else "faster"
    told = (
        f"{state.cell}: {wording.percent(state.loss)} {side} than the base in {state.pairs} pairs "
        f"({wording.amount(state.candidate, metric.unit)} against "
        f"{wording.amount(state.base, metric.unit)}); {_bounds(state, rules)}; smallest loss this "
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
        margin=rules.margin,
        verdict=Verdict.PASS if open_ else state.verdict,
        message=told,
    )


def _bounds(state: CellState, rules: Rules) -> str:
    most = f"at most {_signed(state.high)}"
    least = f"at least {_signed(state.low)} and " if state.low is not None else ""
    return (
        f"{least}{most} (a loss over {wording.percent(rules.tolerance)} must be proven, "
        f"one of {wording.percent(rules.margin)} ruled out)"
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
