"""Validity rules that ask whether there is a steady state to be measured at all."""

from __future__ import annotations

from collections.abc import Sequence

from perfgate.measure.evidence import Evidence
from perfgate.measure.metrics import REQUEST_RATE
from perfgate.measure.queueing import littles_law as littles_law_of
from perfgate.measure.queueing import shortfall
from perfgate.measure.steady import steadiness
from perfgate.model import Veto
from perfgate.traffic.backlog import held_back

BACKLOG = "backlog"
_FOLLOW_FROM_BACKLOG = frozenset((BACKLOG, "littles-law", "no-steady-state"))
"""Rules that a backlog breaks by itself."""
MAX_SHORTFALL = 0.02


def littles_law(evidence: Evidence) -> Veto | None:
    """The number of requests in the system is not request rate x mean residence (Little 1961).

    In steady state it must be; if not, clients idled, the window is not steady, or stamps are
    wrong. In a closed loop the number is known: a client is in it with a request, or thinks.
    """
    window, load = evidence.window, evidence.run.point.workload
    law = littles_law_of(window)
    known, allowed = law.in_system, evidence.policy.littles_law_margin
    if not load.uniform:
        allowed += law.allowed
    told = f"{known:.2f} were, on average"
    if load.arrivals is None:
        known = load.concurrency - REQUEST_RATE.of(window) * load.think_s
        told = f"{load.concurrency} clients were running"
    error = abs(known - law.implied) / known if known > 0 else float("inf")
    if error <= allowed:
        return None
    return Veto(
        rule="littles-law",
        message=f"request rate x mean residence = {law.implied:.2f} requests in flight, but"
        f" {told}: {error:.1%} apart, at most {allowed:.1%} allowed",
    )


def is_backlog(vetoes: Sequence[Veto]) -> bool:
    """Whether all that is wrong is a backlog and what comes of it: the measurement is sound.

    There is then no steady state to measure, and just that was found out.
    """
    rules = {veto.rule for veto in vetoes}
    return BACKLOG in rules and rules <= _FOLLOW_FROM_BACKLOG


def backlog(evidence: Evidence) -> Veto | None:
    """More requests arrived than the server ended: they wait ever longer, there is no latency."""
    window, load = evidence.window, evidence.run.point.workload
    if load.arrivals is None:
        return None
    rate = f"the server does not keep up with {load.arrivals.requests_per_s:g} requests/s"
    inside = [record for record in window.records if record.due_ns <= window.end_ns]
    if held := held_back(inside, load.concurrency):
        return Veto(
            rule=BACKLOG,
            message=f"{rate}: {len(held)} requests waited until one of {load.concurrency} in flight"
            " had ended. Lower the rate, or allow more concurrency if the server does keep up",
        )
    short = shortfall(window)
    if short <= MAX_SHORTFALL:
        return None
    return Veto(
        rule=BACKLOG,
        message=f"{rate}: of those that arrived in the window {short:.1%} were left waiting in the"
        f" end, at most {MAX_SHORTFALL:.0%} may be. Lower the rate",
    )


def no_steady_state(evidence: Evidence) -> Veto | None:
    """The throughput never settled: it drifted, or its warm-up took over half of the window."""
    drift, limit = steadiness(evidence.window).drift(), evidence.policy.max_drift
    if abs(drift) <= limit:
        return None
    return Veto(
        rule="no-steady-state",
        message=f"throughput drifted by {drift:+.1%} over the window, at most {limit:.0%} is"
        " allowed: the server has no steady state, or reaches it later than the ramp lasts",
    )
