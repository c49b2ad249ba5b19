"""Two measurements against each other: which phase the change of latency comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfgate.errors import UsageError
from perfgate.model import Measurement, Phase

UNCHANGED = 0.01
"""A smaller share of the latency is no change to explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One phase's mean time before and after; `share` is its part of the latency's change.

    Shares add up to 1. A negative one worked against the change.
    """

    phase: Phase
    before_s: float
    after_s: float
    share: float

    @property
    def relative(self) -> float | None:
        """The change over what it was; None where there was nothing."""
        return self.after_s / self.before_s - 1 if self.before_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The change of one point from `before` to `after`: all phases, the heaviest first.

    `changes` is empty where nothing can be told; `reason` says why. `differences` are the parts
    of the fingerprints that are not the same, with both values.
    """

    before: Measurement
    after: Measurement
    changes: tuple[Change, ...]
    reason: str
    differences: tuple[tuple[str, str, str], ...]

    @property
    def latency(self) -> float:
        """Relative change of the mean request latency."""
        return self.after.latency_s.mean / self.before.latency_s.mean - 1

    @property
    def throughput(self) -> float:
        """Relative change of the output token throughput."""
        return self.after.throughput_tok_s / self.before.throughput_tok_s - 1

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing worth explaining."""
        return abs(self.latency) < UNCHANGED


def explain_change(before: Measurement, after: Measurement) -> Explanation:
    """Explain how `after` differs from `before`, phase by phase.

    Raises UsageError for measurements of different hardware: a simulated run explains no real one.
    """
    if before.fingerprint.hardware != after.fingerprint.hardware:
        rule = f"it cannot be explained against one of {before.fingerprint.hardware}"
        raise UsageError("hardware", after.fingerprint.hardware, rule)
    changes, reason = _changes(before, after)
    return Explanation(
        before=before,
        after=after,
        changes=changes,
        reason=reason,
        differences=_differences(before, after),
    )


def explain_runs(
    before: Sequence[Measurement], after: Sequence[Measurement]
) -> tuple[Explanation, ...]:
    """Explain each point that both runs measured, in the order of `after`.

    Raises UsageError if they share no point, or come from different hardware.
    """
    known = {measurement.point.id: measurement for measurement in before}
    shared = [one for one in after if one.point.id in known]
    if not shared:
        names = ", ".join(known) or "none"
        measured = ", ".join(one.point.id for one in after) or "none"
        raise UsageError("points", measured, f"the run before measured other ones: {names}")
    return tuple(explain_change(known[one.point.id], one) for one in shared)


def _changes(before: Measurement, after: Measurement) -> tuple[tuple[Change, ...], str]:
    for one, name in ((before, "before"), (after, "after")):
        if one.attribution is None or not one.attribution.phases_s:
            why = one.attribution.note if one.attribution else "it was measured without"
            return (), f"{name}: {why}"
    old, new = _phases(before), _phases(after)
    if old.keys() != new.keys():
        old, new = _folded(old, new), _folded(new, old)
    total = sum(new.values()) - sum(old.values())
    changes = [
        Change(
            phase=phase,
            before_s=old[phase],
            after_s=new[phase],
            share=(new[phase] - old[phase]) / total if total else 0.0,
        )
        for phase in old
    ]
    return tuple(sorted(changes, key=lambda change: -abs(change.share))), ""


def _phases(measurement: Measurement) -> dict[Phase, float]:
    return measurement.attribution.phases_s if measurement.attribution else {}


def _folded(phases: dict[Phase, float], other: dict[Phase, float]) -> dict[Phase, float]:
    """The phases as both measurements can tell them: what one has apart is put together."""
    outside: tuple[Phase, ...] = (Phase.WAY_BACK, Phase.POSTPROCESSING)
    into = Phase.WAY_BACK
    if Phase.NETWORK in phases or Phase.NETWORK in other:
        outside, into = (*outside, Phase.WAY_IN, Phase.NETWORK), Phase.NETWORK
    kept = {phase: seconds for phase, seconds in phases.items() if phase not in outside}
    return kept | {into: sum(phases.get(phase, 0.0) for phase in outside)}


def _differences(before: Measurement, after: Measurement) -> tuple[tuple[str, str, str], ...]:
    old = before.fingerprint.context | before.fingerprint.identity
    new = after.fingerprint.context | after.fingerprint.identity
    return tuple(
        (name, old.get(name, "-"), new.get(name, "-"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
