"""Another machine's clock, from pings: never further off than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load.clocks import ClockMap, Ping, read_offset

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000
DELAYS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=20)


def pings(at_ns, delays, clock):
    """Round trips that begin at `at_ns` and take these times there and back."""
    return [
        Ping(at_ns, clock(at_ns + there_ns), at_ns + there_ns + back_ns)
        for there_ns, back_ns in delays
    ]


@given(st.integers(-(10**18), 10**18), st.integers(-50, 50), DELAYS, DELAYS, st.floats(0, 1))
def test_a_time_is_known_within_the_stated_uncertainty(offset, ppm, before, after, share):
    """Whatever the offset, the drift and the way the delay is split between there and back."""

    def clock(here_ns):
        return here_ns + offset + here_ns * ppm // 10**6

    load_ns = 60 * SECOND
    known = ClockMap(
        read_offset(pings(0, before, clock)), read_offset(pings(load_ns, after, clock))
    )
    at_ns = int(share * load_ns)

    # A rounding of the drift on top, and the drift within one ping.
    assert abs(known.to_here(clock(at_ns)) - at_ns) <= known.uncertainty_ns + 200


def test_the_quickest_round_trip_decides():
    """A ping that lay in a queue on its way says less than one that did not."""
    slow, quick = Ping(0, 5_000_900, 1000), Ping(0, 5_000_050, 100)

    offset = read_offset([slow, quick, slow])

    assert (offset.offset_ns, offset.uncertainty_ns) == (5_000_000, 50)


def test_one_reading_is_no_drift():
    """The same offset before and after, as where nothing was read in between."""
    offset = read_offset([Ping(0, 150, 100)])

    assert ClockMap(offset, offset).to_here(1000) == 900
