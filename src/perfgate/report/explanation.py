"""An explanation in words: what changed by how much, and which phase it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from perfgate.measure.explain import Change, Explanation
from perfgate.model import Phase
from perfgate.report import numbers

PHASE_NAMES: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.CLIENT: "client",
        Phase.WAY_IN: "way in (network, tokenising)",
        Phase.QUEUE: "queue",
        Phase.PREFILL: "prefill",
        Phase.DECODE: "decode",
        Phase.POSTPROCESSING: "postprocessing",
        Phase.WAY_BACK: "way back",
        Phase.NETWORK: "network, both ways",
    }
)

_TOLD = 0.05  # of the change: less is left out
_ALL = 0.95


def explanation_lines(explanation: Explanation) -> tuple[str, ...]:
    """The headline, then a line for each phase that matters, then what else differs."""
    differing = tuple(
        f"  differs: {name} {old} -> {new}" for name, old, new in explanation.differences
    )
    return (headline(explanation), *(f"  {line}" for line in causes(explanation)), *differing)


def headline(explanation: Explanation) -> str:
    """Latency and throughput of both measurements, and their change."""
    before, after = explanation.before, explanation.after
    return (
        f"{_points(explanation)}: request latency {numbers.duration(before.latency_s.mean)} -> "
        f"{numbers.duration(after.latency_s.mean)} ({numbers.change(explanation.latency)}), "
        f"throughput {numbers.tok_s(before.throughput_tok_s)} -> "
        f"{numbers.tok_s(after.throughput_tok_s)} tok/s "
        f"({numbers.change(explanation.throughput)})"
    )


def causes(explanation: Explanation) -> tuple[str, ...]:
    """What the change comes from, the heaviest first, or why that cannot be told."""
    if explanation.reason:
        return (f"where the time went cannot be told: {explanation.reason}",)
    if explanation.unchanged:
        return ("no change to explain",)
    effect = "loss" if explanation.latency > 0 else "gain"
    told = [change for change in explanation.changes if abs(change.share) >= _TOLD]
    return tuple(_cause(change, explanation, effect) for change in told)


def _points(explanation: Explanation) -> str:
    before, after = explanation.before.point.id, explanation.after.point.id
    return after if before == after else f"{before} -> {after}"


def _cause(change: Change, explanation: Explanation, effect: str) -> str:
    name, before_s, after_s = PHASE_NAMES[change.phase], change.before_s, change.after_s
    if change.phase is Phase.DECODE and (steps := _steps(explanation)):
        name, before_s, after_s = "decode step", before_s / steps[0], after_s / steps[1]
    relative = f" ({numbers.change(after_s / before_s - 1)})" if before_s else ""
    times = f"{numbers.duration(before_s)} -> {numbers.duration(after_s)}{relative}"
    return f"{name} {times}: {_part(change.share)} the {effect}"


def _steps(explanation: Explanation) -> tuple[float, float] | None:
    """Mean decode steps of a request before and after; None where requests have none."""
    found = [
        one.attribution.decode_steps if one.attribution else 0.0
        for one in (explanation.before, explanation.after)
    ]
    return (found[0], found[1]) if all(found) else None


def _part(share: float) -> str:
    if share < 0:
        return f"takes {numbers.share(-share)} off"
    if _ALL <= share <= 2 - _ALL:
        return "all of"
    return f"{numbers.share(share)} of"
