"""Why the GPU's own state forbids to judge a run: each rule objects or returns None.

What the GPU did not report breaks no rule: nothing is known then, and a note says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perfgate.measure.resources import inside
from perfgate.measure.window import Window
from perfgate.model import GpuSample, Policy, Telemetry, Veto


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """What the rules look at: the samples of the window, and what they are held against."""

    samples: Sequence[GpuSample]
    telemetry: Telemetry
    policy: Policy


def gpu_vetoes(telemetry: Telemetry | None, window: Window, policy: Policy) -> tuple[Veto, ...]:
    """Return the objections of all rules; none where no GPU was watched."""
    if telemetry is None:
        return ()
    evidence = GpuEvidence(inside(telemetry.gpu, window), telemetry, policy)
    objections = (rule(evidence) for rule in GPU_RULES)
    return tuple(objection for objection in objections if objection is not None)


def slowdown(evidence: GpuEvidence) -> Veto | None:
    """Heat, a power brake or a hardware fault held the GPU's clocks down."""
    known = [one.slowdowns for one in evidence.samples if one.slowdowns is not None]
    slowed = [reasons for reasons in known if reasons]
    limit = evidence.policy.max_slowdown_share
    if not slowed or len(slowed) / len(known) <= limit:
        return None
    reasons = Counter(reason for each in slowed for reason in each)
    return Veto(
        rule="gpu-slowdown",
        message=f"the GPU was slowed down in {len(slowed)} of {len(known)} samples"
        f" ({', '.join(reason for reason, _ in reasons.most_common())}), at most {limit:.1%} is"
        " allowed: see to its cooling and power supply",
    )


def foreign_process(evidence: GpuEvidence) -> Veto | None:
    """Another process computed on the GPU beside the server.

    The server's own processes are those that came between the moment before its boot and the
    start of the load; process ids alone do not tell, for a container may have its own.
    """
    telemetry = evidence.telemetry
    own = set(telemetry.pids_at_start) - set(telemetry.pids_before)
    seen = Counter(pid for one in evidence.samples for pid in set(one.pids or ()) - own)
    if not seen:
        return None
    named = (f"{pid} {telemetry.process_names.get(str(pid), '')}".strip() for pid in sorted(seen))
    return Veto(
        rule="foreign-process",
        message=f"the GPU was shared with {', '.join(named)}, seen in up to"
        f" {max(seen.values())} of {len(evidence.samples)} samples: stop it and measure again",
    )


def clock_band(evidence: GpuEvidence) -> Veto | None:
    """The SM clock lay outside the policy's band for too much of the window."""
    policy, highest = evidence.policy, evidence.telemetry.sm_clock_max_mhz
    clocks = [one.sm_clock_mhz for one in evidence.samples if one.sm_clock_mhz is not None]
    if not highest or not clocks:
        return None
    low, high = policy.min_sm_clock * highest, policy.max_sm_clock * highest
    outside = [clock for clock in clocks if not low <= clock <= high]
    if len(outside) / len(clocks) <= policy.max_clock_out_share:
        return None
    return Veto(
        rule="gpu-clock",
        message=f"the SM clock was outside {low:.0f} to {high:.0f} MHz in"
        f" {len(outside) / len(clocks):.1%} of the window (as far as"
        f" {max(outside, key=lambda clock: max(low - clock, clock - high))} MHz), at most"
        f" {policy.max_clock_out_share:.1%} is allowed",
    )


GPU_RULES: tuple[Callable[[GpuEvidence], Veto | None], ...] = (
    slowdown,
    foreign_process,
    clock_band,
)
