"""What the terminal shows while points are measured."""

import io

import pytest

from perfgate.suite import load_suite
from perfgate.terminal import TerminalProgress, expected_s, plan_steps
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """The time."""
        return self.now


@pytest.fixture
def points():
    """Three points on two engines."""
    suite = load_suite(ROOT)
    return [suite.point(p) for p in ("fp16-b16-c16", "fp8-b192-c128", "fp8-b192-c160")]


def progress(points, *, live):
    """An observer that writes into a string."""
    stream, clock = io.StringIO(), Clock()
    return TerminalProgress(stream, plan_steps(points, {}), live=live, clock=clock), stream, clock


def test_the_plan_boots_once_for_each_engine(points):
    """Points on one engine share a boot."""
    names = [step.name for step in plan_steps(points, {})]

    assert names == [
        "boot Triton with fp16-b16",
        "measure fp16-b16-c16",
        "boot Triton with fp8-b192",
        "measure fp8-b192-c128",
        "measure fp8-b192-c160",
    ]


def test_a_point_takes_its_ramp_and_its_waves(points):
    """Expected time: one latency of ramp, then requests over concurrency latencies."""
    assert expected_s(points[0], None) == pytest.approx(7.2 * (2 + 64 / 16 + 1) + 2)


def test_a_log_gets_a_line_at_start_and_end(points):
    """Without a terminal no control character is written, and each step has two lines."""
    observer, stream, clock = progress(points, live=False)

    observer.begin("boot Triton with fp16-b16")
    observer.advance(1, 2)
    clock.now += 3
    observer.end()

    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("[1/5] boot Triton with fp16-b16: started")
    assert lines[1].startswith("[1/5] boot Triton with fp16-b16: done in 0:03")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_moving_line(points):
    """On a terminal the line is rewritten in place, at most a few times a second."""
    observer, stream, clock = progress(points, live=True)
    observer.begin("boot Triton with fp16-b16")
    observer.end()
    observer.begin("measure fp16-b16-c16")
    clock.now += 1
    observer.advance(8, 80)
    observer.advance(9, 80)

    last = stream.getvalue().split("\r\x1b[2K")[-1]
    assert "8/80 requests" in last
    assert "left" in last


def test_a_step_nobody_planned_joins_the_plan(points):
    """A second boot after a crash is shown and moves the later steps back."""
    observer, stream, _ = progress(points, live=False)
    observer.begin("boot Triton with fp16-b16")
    observer.end()

    observer.begin("boot Triton with fp16-b16")

    assert stream.getvalue().splitlines()[-1].startswith("[2/6] boot Triton with fp16-b16")
