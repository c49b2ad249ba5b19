"""The heartbeat of the worker's event loop."""

from __future__ import annotations

import time

import pytest

from perfgate.load.control import ControlBlock
from perfgate.load.heartbeat import BEATS_PER_FRAME, Heartbeat
from perfgate.load.spool import Beats, SpoolReader, SpoolWriter

pytestmark = pytest.mark.unit


@pytest.fixture
def control(tmp_path):
    """The counters of a worker."""
    block = ControlBlock.create(tmp_path / "control")
    yield block
    block.close()


def lags_ns(path):
    """The lag of every beat in a spool."""
    return [beat.lag_ns for frame in SpoolReader(path) for beat in frame.beats]


def test_a_stall_is_charged_to_every_beat_it_swallowed(tmp_path, control):
    """A loop that comes round 50 ms late makes eight beats of 5 ms that are 10 ms late or more."""
    spool = SpoolWriter(tmp_path / "spool")
    heart = Heartbeat(spool, control)

    heart.start(time.perf_counter_ns() - 50_000_000)
    heart.beat()
    heart.flush()
    spool.close()

    assert sum(lag >= 10_000_000 for lag in lags_ns(tmp_path / "spool")) >= 8


def test_no_beat_is_taken_before_it_is_due(tmp_path, control):
    """A loop that comes round early leaves the grid alone."""
    spool = SpoolWriter(tmp_path / "spool")
    heart = Heartbeat(spool, control)

    heart.start(time.perf_counter_ns() + 10**12)
    due_ns = heart.due_ns
    heart.beat()
    heart.flush()
    spool.close()

    assert heart.due_ns == due_ns
    assert lags_ns(tmp_path / "spool") == []


def test_beats_are_spooled_as_they_come(tmp_path, control):
    """A worker that is killed loses at most the last frame of beats."""
    spool = SpoolWriter(tmp_path / "spool")
    heart = Heartbeat(spool, control)

    for _ in range(BEATS_PER_FRAME + 1):
        heart._take(0)

    (frame,) = SpoolReader(tmp_path / "spool")
    assert isinstance(frame, Beats)
    assert len(frame.beats) == BEATS_PER_FRAME
    spool.close()
