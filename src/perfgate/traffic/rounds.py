"""Where a load's rounds begin and end, from its records."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from perfgate.model import RequestRecord, RequestStatus


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
    # What ends at the very moment of a mark, in the same iteration, is of what ends there.
    position = bisect_right(ends_ns, marks_ns[0]) - 1 if marks_ns else position
    for number, requests in enumerate(rounds):
        position += requests
        if number in cuts_ns:
            marks_ns.append(cuts_ns[number])
        elif position < len(ended):
            marks_ns.append(ends_ns[position])
        else:
            break
        position = bisect_right(ends_ns, marks_ns[-1]) - 1
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
