"""Requests of an open loop that wait because it asks for more than the server takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfgate.model import RequestRecord

LATE_SEND_NS = 5_000_000
"""A request sent later than this after it was due was sent late."""


def held_back(
    records: Sequence[RequestRecord], clients: int, *, late_ns: int = LATE_SEND_NS
) -> frozenset[int]:
    """The indexes of requests that were sent late because all `clients` had one in flight.

    So they had when it began to be late. Any other late send is the load client's own failing.
    """
    sent = np.sort([record.sent_ns for record in records])
    finished = np.sort([record.finished_ns for record in records])
    late = [record for record in records if record.sent_ns - record.due_ns > late_ns]
    at = [record.due_ns + late_ns for record in late]
    busy = np.searchsorted(sent, at, side="right") - np.searchsorted(finished, at, side="right")
    return frozenset(r.index for r, n in zip(late, busy.tolist(), strict=True) if n >= clients)
