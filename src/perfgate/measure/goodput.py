"""Goodput: what was served within an objective, a request at a time."""

from __future__ import annotations

from itertools import pairwise

from perfgate.measure.metrics import first_token_s, latency_s, time_per_token_s
from perfgate.measure.window import Window
from perfgate.model import Goodput, Objective, RequestRecord


def goodput(window: Window, objective: Objective | None) -> Goodput | None:
    """The goodput of a window; None where the point has no objective.

    Requests of the window that ended well and meet every limit, and their output tokens, each by
    the length of the window. A request that failed meets none, and counts in none.
    """
    if objective is None:
        return None
    good = [record for record in window.finished if meets(record, objective)]
    return Goodput(
        requests_s=len(good) / window.seconds,
        tok_s=sum(record.output_tokens for record in good) / window.seconds,
        share=len(good) / len(window.finished),
    )


def meets(record: RequestRecord, objective: Objective) -> bool:
    """Whether one request kept every limit that is set; a request without tokens keeps none."""
    if not record.arrivals_ns:
        return False
    several = record.output_tokens > 1
    gaps = (later - earlier for earlier, later in pairwise(record.arrivals_ns))
    taken = (
        (objective.ttft_s, first_token_s(record)),
        (objective.tpot_s, time_per_token_s(record) if several else 0.0),
        (objective.itl_s, max(gaps, default=0) / 1e9),
        (objective.latency_s, latency_s(record)),
    )
    return all(limit is None or value <= limit for limit, value in taken)
