"""The kernel's arrival stamps on the clock of all records."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from perfgate.load.kernel_clock import ANCILLARY_BYTES, STEP_NS, KernelClock, request_stamps

pytestmark = pytest.mark.unit

EPOCH_NS = 1_700_000_000_123_456_789


class Clocks:
    """A wall clock and a monotonic clock that advance with every look."""

    def __init__(self):
        self.now_ns = 0
        self.wall_offset_ns = EPOCH_NS

    def monotonic(self):
        """Some time passes between any two looks."""
        self.now_ns += 40
        return self.now_ns

    def wall(self):
        """The same time with the offset of the epoch."""
        return self.monotonic() + self.wall_offset_ns


@pytest.fixture
def clocks():
    """Two clocks that agree."""
    return Clocks()


@pytest.fixture
def kernel(clocks):
    """A kernel clock on the two."""
    return KernelClock(clocks.wall, clocks.monotonic)


def told(wall_ns):
    """What the kernel hands out with a read."""
    data = struct.pack("@qq", *divmod(wall_ns, 1_000_000_000))
    return [(socket.SOL_SOCKET, 35, data)]


def test_a_stamp_is_when_the_packet_came(kernel):
    """However late the reader is, the stamp stays the kernel's, to the offset's own error."""
    assert kernel.stamp(told(EPOCH_NS + 5_000), 9_000_000) == pytest.approx(5_000, abs=40)


def test_without_a_stamp_the_time_of_reading_counts(kernel):
    """A read that carries none, or another kind of message, is stamped when it is read."""
    assert kernel.stamp([], 77) == 77
    assert kernel.stamp([(socket.SOL_SOCKET, 1, b"x" * 16)], 77) == 77


def test_nothing_arrives_in_the_future(kernel):
    """The offset's error never puts an arrival after the moment of reading it."""
    assert kernel.stamp(told(EPOCH_NS + 5_020), 5_000) == 5_000


def test_a_wall_clock_that_was_set_is_noticed(kernel, clocks):
    """Arrivals would be off by the step; less than the limit is the reading's own error."""
    assert kernel.stepped_ns() == 0
    clocks.wall_offset_ns += 2 * STEP_NS
    assert kernel.stepped_ns() == pytest.approx(2 * STEP_NS, abs=100)
    clocks.wall_offset_ns -= 4 * STEP_NS
    assert kernel.stepped_ns() == pytest.approx(-2 * STEP_NS, abs=100)


def test_the_kernel_stamps_a_real_socket():
    """A reader that comes 50 ms late still learns when the bytes came."""
    clock = KernelClock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            request_stamps(client)
            # The kernel begins to stamp a little after the first socket of the machine asks.
            for _ in range(100):
                before_ns = time.perf_counter_ns()
                server.sendall(b"token")
                time.sleep(0.05)
                _, ancillary, _, _ = client.recvmsg(100, ANCILLARY_BYTES)
                read_ns = time.perf_counter_ns()
                if ancillary:
                    break
            stamp_ns = clock.stamp(ancillary, read_ns)

    assert before_ns - STEP_NS < stamp_ns < read_ns - 40_000_000
