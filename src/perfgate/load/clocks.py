"""Another machine's clock in terms of this one's, from pings there and back. Pure.

As NTP does: the other clock is read somewhere between sending and receiving, so that its offset is
known to half the round trip. The quickest of many round trips says most. Read before the load and
after it, two offsets also tell how far the clocks drift apart meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ping:
    """When this machine asked, what the other one's clock then showed, when the answer came."""

    sent_ns: int
    there_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Offset:
    """The other clock minus this one, at `there_ns` of the other; true within the uncertainty."""

    there_ns: int
    offset_ns: int
    uncertainty_ns: int


def read_offset(pings: Sequence[Ping]) -> Offset:
    """Take the offset from the ping that was back first."""
    best = min(pings, key=lambda ping: ping.received_ns - ping.sent_ns)
    middle_ns = (best.sent_ns + best.received_ns) // 2
    return Offset(
        there_ns=best.there_ns,
        offset_ns=best.there_ns - middle_ns,
        uncertainty_ns=-((best.sent_ns - best.received_ns) // 2),
    )


@dataclass(frozen=True, slots=True)
class ClockMap:
    """The other clock over the time of a load: one offset before it, one after."""

    before: Offset
    after: Offset

    @property
    def uncertainty_ns(self) -> int:
        """How far a time may be off: clocks that drift evenly are as well known as at the ends."""
        return max(self.before.uncertainty_ns, self.after.uncertainty_ns)

    def to_here(self, there_ns: int) -> int:
        """A time of the other clock as this one would have shown it."""
        span_ns = self.after.there_ns - self.before.there_ns
        drift_ns = self.after.offset_ns - self.before.offset_ns
        since_ns = there_ns - self.before.there_ns
        return there_ns - self.before.offset_ns - (drift_ns * since_ns // span_ns if span_ns else 0)
