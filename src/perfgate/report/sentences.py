"""A run in sentences: its verdict, what follows from it, what was found, what a curve shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from perfgate.model import Finding, Judgement, Measurement, Objective, RunInfo, Verdict
from perfgate.report import numbers
from perfgate.report.content import Curve, Report

SEVERITY = (
    Verdict.REGRESSION,
    Verdict.INVALID,
    Verdict.UNSTABLE,
    Verdict.INCONCLUSIVE,
    Verdict.IMPROVEMENT,
    Verdict.PASS,
)
"""The verdicts, the one that needs a person most urgently first."""

_NEXT_STEP: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.REGRESSION: "Slower than agreed. Take the findings in turn; only if the loss is "
        "wanted, lower the baseline in a commit of its own.",
        Verdict.INVALID: "What is invalid says nothing about speed, good or bad. Remove the "
        "named cause and run again.",
        Verdict.UNSTABLE: "The numbers do not hold still. Find out why some requests or rounds "
        "differ from the others before trusting any.",
        Verdict.INCONCLUSIVE: "Not a pass: there is too little data, or too much noise, for an "
        "answer. Run again with more rounds or on a quieter machine.",
        Verdict.IMPROVEMENT: "Faster than its baseline. Accept the new numbers, so that the gain "
        "is guarded from now on.",
        Verdict.PASS: "Nothing to do.",
    }
)

SIMULATED_NOTE = (
    "Triton and the load client are real; TensorRT-LLM's scheduler and the GPU are models. "
    "Compare with simulated runs only."
)

_VERB: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.REGRESSION: "regressed",
        Verdict.INVALID: "could not be judged",
        Verdict.UNSTABLE: "unstable",
        Verdict.INCONCLUSIVE: "undecided",
        Verdict.IMPROVEMENT: "improved",
        Verdict.PASS: "pass",
    }
)


def goodput_lines(measurements: Iterable[Measurement]) -> list[str]:
    """What each point that has an objective served within it."""
    return [
        f"{one.point.id}: goodput {numbers.significant(one.goodput.requests_s)} requests/s and"
        f" {numbers.tok_s(one.goodput.tok_s)} tok/s,"
        f" {numbers.share(one.goodput.share)} of requests within {_limits(one.point.objective)}."
        for one in measurements
        if one.goodput is not None and one.point.objective is not None
    ]


def note_lines(measurements: Iterable[Measurement]) -> list[str]:
    """What is to be known of each measurement: a second try, a drift, what was not watched."""
    return [f"{one.point.id}: {'; '.join(one.notes)}." for one in measurements if one.notes]


def _limits(objective: Objective) -> str:
    limits = (
        ("TTFT", objective.ttft_s),
        ("TPOT", objective.tpot_s),
        ("ITL", objective.itl_s),
        ("latency", objective.latency_s),
    )
    return ", ".join(
        f"{name} {numbers.duration(limit)}" for name, limit in limits if limit is not None
    )


def verdict(report: Report) -> Verdict | None:
    """The most urgent verdict of the run, or None if nothing was judged."""
    said = {judgement.verdict for judgement in (*report.judgements, *report.comparisons)}
    return next((verdict for verdict in SEVERITY if verdict in said), None)


def headline(report: Report) -> str:
    """The run in one sentence."""
    everything = (*report.judgements, *report.comparisons)
    counts = Counter(judgement.verdict for judgement in everything)
    match everything:
        case ():
            return "Nothing was judged."
        case (only,):
            return f"{only.point}: {_VERB[only.verdict]}."
    if set(counts) == {Verdict.PASS}:
        return f"All {_scope(report)} pass."
    parts = [f"{counts[each]} {_VERB[each]}" for each in SEVERITY if each in counts]
    return f"Of {_scope(report)}, {_enumerated(parts)}."


def next_step(report: Report) -> str:
    """What to do about it."""
    said = verdict(report)
    if said is not None:
        return _NEXT_STEP[said]
    if report.measurements:
        return (
            "What was measured has nothing to be held against here: give the points a floor, a"
            " ceiling or an accepted baseline."
        )
    return "No point was measured. Check that the selection of points is not empty."


def troubles(report: Report) -> tuple[Judgement, ...]:
    """Every judgement that is no PASS, the most urgent first."""
    found = [
        judgement
        for judgement in (*report.judgements, *report.comparisons)
        if judgement.verdict is not Verdict.PASS
    ]
    return tuple(sorted(found, key=lambda judgement: SEVERITY.index(judgement.verdict)))


def telling(judgement: Judgement) -> tuple[Finding, ...]:
    """The findings that explain the verdict: those that are no PASS, or all if none is.

    The point's name, which the heading shows, is taken off their messages, and an advice that
    several in a row share is kept with the last of them.
    """
    found = [each for each in judgement.findings if each.verdict is not Verdict.PASS]
    found = found or list(judgement.findings)
    following = [*(each.advice for each in found), ""][1:]
    return tuple(
        replace(
            each,
            message=each.message.removeprefix(f"{judgement.point}: "),
            advice="" if each.advice == following_advice else each.advice,
        )
        for each, following_advice in zip(found, following, strict=True)
    )


def answer(comparison: Judgement) -> str:
    """What a comparison found, in a line: everything if it passed, else the first trouble."""
    first, *others = telling(comparison) or (None,)
    if first is None:
        return ""
    if comparison.verdict is Verdict.PASS:
        return "; ".join(each.message.rstrip(".") for each in (first, *others)) + "."
    return first.message + (f" (and {len(others)} more below)" if others else "")


def hardware_label(info: RunInfo) -> str:
    """The hardware's name, with SIMULATED before it where no GPU computed."""
    if not info.simulated:
        return info.hardware
    return f"SIMULATED {info.hardware.removesuffix('-sim')}"


def _scope(report: Report) -> str:
    counted = ((len(report.judgements), "point"), (len(report.comparisons), "comparison"))
    return " and ".join(
        f"{count} {noun}" if count == 1 else f"{count} {noun}s" for count, noun in counted if count
    )


def _enumerated(parts: list[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def described(curve: Curve) -> str:
    """What the curve shows, in words."""
    best = max(curve.points, key=lambda point: point.throughput_tok_s)
    most = f"{numbers.tok_s(best.throughput_tok_s)} tok/s at {curve.axis} {best.load:g}"
    said = [f"Throughput reaches {most}."]
    if curve.knee is not None:
        said.append(f"The knee lies at concurrency {curve.knee}.")
    if curve.operating_range is not None:
        low, high = curve.operating_range
        said.append(f"The operating range is concurrency {between(low, high)}.")
    over = [f"{point.load:g}" for point in curve.points if curve.over_ceiling(point)]
    if over and curve.ceiling_p95_s is not None:
        ceiling = numbers.duration(curve.ceiling_p95_s)
        said.append(f"P95 exceeds its ceiling of {ceiling} at {curve.axis} {', '.join(over)}.")
    return " ".join(said)


def between(low: int, high: int) -> str:
    """A range of whole numbers, or the one number that it holds."""
    return str(low) if low == high else f"{low}-{high}"
