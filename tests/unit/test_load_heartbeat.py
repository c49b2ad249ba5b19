"""The heartbeat of the worker's event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from perfgate.load.control import ControlBlock
from perfgate.load.heartbeat import BEATS_PER_FRAME, Heartbeat
from perfgate.load.spool import Beats, SpoolWriter, read_spool

pytestmark = pytest.mark.unit


@pytest.fixture
def control(tmp_path):
    """The counters of a worker."""
    block = ControlBlock.create(tmp_path / "control")
    yield block
    block.close()


def lags_ns(path):
    """The lag of every beat in a spool."""
    return [beat.lag_ns for frame in read_spool(path) for beat in frame.beats]


def test_a_stall_is_charged_to_every_beat_it_swallowed(tmp_path, control):
    """A loop blocked for 50 ms makes eight beats of 5 ms that are 10 ms late or more, not one."""
    spool = SpoolWriter(tmp_path / "spool")
    heart = Heartbeat(spool, control)

    async def block():
        beating = asyncio.create_task(heart.run())
        await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251 - the stall that the test is about
        for _ in range(20):  # a beat that is overdue takes one turn of the loop
            await asyncio.sleep(0)
        beating.cancel()

    asyncio.run(block())
    heart.flush()
    spool.close()

    assert sum(lag >= 10_000_000 for lag in lags_ns(tmp_path / "spool")) >= 8


def test_beats_are_spooled_as_they_come(tmp_path, control):
    """A worker that is killed loses at most the last frame of beats."""
    spool = SpoolWriter(tmp_path / "spool")
    heart = Heartbeat(spool, control)

    for _ in range(BEATS_PER_FRAME + 1):
        heart._take(0)

    (frame,) = read_spool(tmp_path / "spool")
    assert isinstance(frame, Beats)
    assert len(frame.beats) == BEATS_PER_FRAME
    spool.close()
