"""What the worker appends can be read back, however it ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import (
    Beat,
    Beats,
    End,
    Ending,
    Exchange,
    Plan,
    Receiver,
    SpoolReader,
    SpoolWriter,
    read_plan,
    write_plan,
)

pytestmark = pytest.mark.unit

FRAMES = [
    Exchange(index=1, client=0, due_ns=5, ending=Ending.FINAL, stamps_ns=[9], messages=[b"\0a"]),
    Beats([Beat(at_ns=1, lag_ns=2, cpu_ns=3, involuntary_switches=4)]),
    End(["a fault"]),
]


def spool(path):
    """A whole spool of one frame of each kind."""
    writer = SpoolWriter(path)
    for frame in FRAMES:
        writer.write(frame)
    writer.close()
    return path


def test_frames_come_back_in_order(tmp_path):
    """Each kind of frame survives the round trip."""
    assert list(SpoolReader(spool(tmp_path / "spool"))) == FRAMES


@given(st.integers(0, 200))
def test_a_spool_cut_anywhere_yields_its_whole_frames(tmp_path_factory, keep):
    """A worker killed while it wrote loses that frame only."""
    path = spool(tmp_path_factory.mktemp("spool") / "spool")
    path.write_bytes(path.read_bytes()[:keep])

    frames = list(SpoolReader(path))

    assert frames == FRAMES[: len(frames)]


def test_no_spool_has_no_frames(tmp_path):
    """A worker that died before it wrote anything left nothing."""
    assert list(SpoolReader(tmp_path / "gone")) == []


def test_a_plan_comes_back_as_it_was(tmp_path):
    """Requests are bytes and stay so."""
    plan = Plan(
        address="a:1",
        receiver=Receiver.GRPC,
        concurrency=2,
        ramp=3,
        deadline_s=1.5,
        stall_s=2.5,
        requests=[b"\xff", b""],
    )
    write_plan(tmp_path / "plan", plan)

    assert read_plan(tmp_path / "plan") == plan


def test_counters_are_seen_through_another_map(tmp_path):
    """What the worker stores the parent reads, without a call between them."""
    parent = ControlBlock.create(tmp_path / "control")
    worker = ControlBlock(tmp_path / "control")

    worker[Cell.FINISHED] += 3

    assert (parent[Cell.FINISHED], parent[Cell.READY]) == (3, 0)
    parent.close()
    worker.close()


def test_a_spool_is_read_while_it_grows(tmp_path):
    """Each pass yields what was written since the last one, and no part of a frame."""
    path = tmp_path / "growing"
    whole = spool(tmp_path / "spool").read_bytes()
    reader = SpoolReader(path)

    found = []
    for end in range(0, len(whole) + 7, 7):
        path.write_bytes(whole[:end])
        found += reader

    assert found == FRAMES
    assert list(reader) == []
