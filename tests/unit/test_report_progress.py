"""The progress line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.report.progress import Progress, Step, end_line, start_line, status_line

pytestmark = pytest.mark.unit

PLAN = (
    Step(name="boot fp8-b192", expected_s=8.0),
    Step(name="measure fp8-b192-c160", expected_s=40.0),
    Step(name="measure fp8-b192-c192", expected_s=50.0),
)


def a_progress(**changes):
    """The second of three steps, ten seconds in."""
    values = {"plan": PLAN, "running": 1, "elapsed_s": 18.0, "step_elapsed_s": 10.0}
    return Progress(**values | changes)


def test_the_line_says_what_runs_and_how_long_it_takes():
    """Step, requests, time gone and time left, in one line."""
    line = status_line(a_progress(completed=200, total=800))

    assert line == "[2/3] measure fp8-b192-c160  200/800 requests  0:18 gone, about 1:20 left"


def test_early_on_the_plan_is_believed():
    """A step's first few requests say too little about its pace."""
    assert a_progress(completed=5, total=800).left_s == pytest.approx(30 + 50)


def test_later_the_steps_own_pace_is_believed():
    """A step twice as slow as planned shifts the end."""
    assert a_progress(completed=100, total=800).left_s == pytest.approx(70 + 50)


def test_a_step_that_overruns_its_plan_says_so():
    """Without requests to count, no time left is made up."""
    assert "longer than planned" in status_line(a_progress(step_elapsed_s=41.0))


@given(
    running=st.integers(0, 2),
    elapsed=st.floats(0, 1e5),
    completed=st.integers(0, 900),
    total=st.none() | st.integers(0, 900),
    width=st.integers(10, 200),
)
def test_the_line_never_exceeds_the_terminal(running, elapsed, completed, total, width):
    """Whatever the state, the line fits its width and no time is negative."""
    progress = a_progress(running=running, step_elapsed_s=elapsed, completed=completed, total=total)

    assert len(status_line(progress, width=width)) <= width
    assert progress.left_s >= 0


def test_a_log_gets_a_line_at_each_start_and_end():
    """Plain lines carry the same facts."""
    assert start_line(a_progress(step_elapsed_s=0.0)) == (
        "[2/3] measure fp8-b192-c160: started, about 0:40; run about 1:30 more"
    )
    assert end_line(a_progress(completed=800, total=800, step_elapsed_s=43.4)) == (
        "[2/3] measure fp8-b192-c160: done in 0:43, 800 requests"
    )


def test_long_runs_are_told_in_hours():
    """An hour and more is written h:mm:ss."""
    assert "1:00:18 gone" in status_line(a_progress(elapsed_s=3618.0))


def test_a_step_outside_the_plan_is_refused():
    """A wrong index is the caller's mistake, named."""
    with pytest.raises(UsageError, match="3 steps"):
        a_progress(running=3)
