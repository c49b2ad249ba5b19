"""What a load's records and heartbeats say of the client's own failings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfgate.load.spool import Beat
from perfgate.model import ClientAudit, RequestRecord
from perfgate.traffic.backlog import LATE_SEND_NS


def audit_client(
    records: Sequence[RequestRecord],
    beats: Sequence[Beat],
    bounds_ns: tuple[int, int] | None,
    *,
    held: frozenset[int] = frozenset(),
    late_ns: int = LATE_SEND_NS,
) -> ClientAudit:
    """Sum up how one worker fared between `bounds_ns`, or over all beats if there is no window.

    Opening all streams at once is a burst that no later moment sees, so the ramp is left out. The
    `held` requests had to wait for a stream, which is no failing of the client's.
    """
    inside = [
        beat for beat in beats if bounds_ns is None or bounds_ns[0] <= beat.at_ns <= bounds_ns[1]
    ]
    if len(inside) < 2:  # noqa: PLR2004 - a difference needs two beats
        inside = list(beats)
    if not inside:
        return _blank_audit(records)
    first, last = inside[0], inside[-1]
    lags = np.array([beat.lag_ns for beat in inside])
    return ClientAudit(
        cpu_s=(last.cpu_ns - first.cpu_ns) / 1e9,
        wall_s=(last.at_ns - first.at_ns) / 1e9,
        messages=_messages(records, first.at_ns, last.at_ns),
        lag_p99_s=float(np.percentile(lags, 99)) / 1e9,
        lag_max_s=float(lags.max()) / 1e9,
        late_sends=sum(
            record.sent_ns - record.due_ns > late_ns
            and record.due_ns >= first.at_ns
            and record.index not in held
            for record in records
        ),
        involuntary_switches=last.involuntary_switches - first.involuntary_switches,
        voluntary_switches=last.voluntary_switches - first.voluntary_switches,
        waited_s=(last.waited_ns - first.waited_ns) / 1e9,
        stolen_s=(last.stolen_ns - first.stolen_ns) / 1e9,
    )


def combine(workers: Sequence[ClientAudit]) -> ClientAudit:
    """Sum up several workers: counts and CPU added, delays those of the worst."""
    if len(workers) == 1 and not workers[0].host:
        return workers[0]
    return ClientAudit(
        cpu_s=sum(one.cpu_s for one in workers),
        wall_s=max(one.wall_s for one in workers),
        messages=sum(one.messages for one in workers),
        lag_p99_s=max(one.lag_p99_s for one in workers),
        lag_max_s=max(one.lag_max_s for one in workers),
        late_sends=sum(one.late_sends for one in workers),
        involuntary_switches=sum(one.involuntary_switches for one in workers),
        voluntary_switches=sum(one.voluntary_switches or 0 for one in workers),
        waited_s=max(one.waited_s or 0.0 for one in workers),
        stolen_s=max(one.stolen_s or 0.0 for one in workers),
        clock_uncertainty_s=max(one.clock_uncertainty_s for one in workers),
        workers=tuple(workers),
    )


def _messages(records: Sequence[RequestRecord], first_ns: int, last_ns: int) -> int:
    return sum(
        first_ns <= arrival_ns <= last_ns for record in records for arrival_ns in record.arrivals_ns
    )


def _blank_audit(records: Sequence[RequestRecord]) -> ClientAudit:
    # Only a worker that died before its first second leaves no beat; a fault says so beside this.
    return ClientAudit(
        cpu_s=0.0,
        wall_s=0.0,
        messages=sum(len(record.arrivals_ns) for record in records),
        lag_p99_s=0.0,
        lag_max_s=0.0,
        late_sends=0,
        involuntary_switches=0,
    )
