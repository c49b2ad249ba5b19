"""What a load's records and heartbeats say of its rounds and of the client's own failings."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from perfgate.load.spool import Beat
from perfgate.model import ClientAudit, RequestRecord, RequestStatus
from perfgate.traffic.backlog import LATE_SEND_NS


def find_marks(
    records: Sequence[RequestRecord],
    clients: int | None,
    rounds: Sequence[int],
    *,
    ramp: int = 1,
    cuts_ns: Mapping[int, int] = MappingProxyType({}),
) -> tuple[int, ...]:
    """Return the bounds of the rounds, as many as the records reach.

    Mark 0 is when the last of the `clients` clients has ended `ramp` requests; in an open loop,
    which has none of its own, when `ramp` requests have ended. Round i of `rounds[i]` requests ends
    with the last of them to end after that, or at `cuts_ns[i]` when its time was up.
    """
    ended = sorted(
        (record for record in records if record.status is not RequestStatus.UNFINISHED),
        key=lambda record: record.finished_ns,
    )
    ends_ns = [record.finished_ns for record in ended]
    position = _ramp_end(ended, clients, ramp)
    marks_ns = ends_ns[position : position + 1]
    for number, requests in enumerate(rounds):
        position += requests
        if number in cuts_ns:
            marks_ns.append(cuts_ns[number])
            position = bisect_right(ends_ns, cuts_ns[number]) - 1
        elif position < len(ended):
            marks_ns.append(ends_ns[position])
        else:
            break
    return tuple(marks_ns)


def _ramp_end(ended: Sequence[RequestRecord], clients: int | None, ramp: int) -> int:
    """The position of the request that ends the ramp; beyond all if it was not reached."""
    if clients is None:
        return ramp - 1
    counts: Counter[int] = Counter()
    ramped: list[int] = []
    for position, record in enumerate(ended):
        counts[record.client] += 1
        if counts[record.client] == ramp:
            ramped.append(position)
    return ramped[-1] if len(ramped) >= clients else len(ended)


def audit_client(
    records: Sequence[RequestRecord],
    beats: Sequence[Beat],
    bounds_ns: tuple[int, int] | None,
    *,
    held: frozenset[int] = frozenset(),
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
            record.sent_ns - record.due_ns > LATE_SEND_NS
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
