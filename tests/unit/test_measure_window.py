"""Which requests and tokens count."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from perfgate.errors import NoSamplesError
from perfgate.measure.window import Window, steady_window
from perfgate.model import RequestStatus
from tests.unit.factories import a_load_run, a_record
from tests.unit.run_strategies import loops, play

pytestmark = pytest.mark.unit


def test_the_first_mark_belongs_to_the_ramp_and_the_last_to_the_window():
    """A request that ends on mark 0 is outside, one that ends on the last mark is inside."""
    run = play([10])
    window = steady_window(run)
    ends = {record.finished_ns for record in window.finished}

    assert run.marks_ns[0] not in ends
    assert run.marks_ns[-1] in ends


def test_tokens_of_requests_in_flight_count():
    """A token that arrived in the window counts although its request had not ended."""
    done = a_record(0, sent_ns=0, ttft_ns=100, gap_ns=10, tokens=4)
    open_ended = replace(a_record(1, sent_ns=0), status=RequestStatus.UNFINISHED)
    window = Window((50, 115), (done, open_ended))

    assert window.tokens_between(50, 115) == 4  # arrivals at 100 and 110 of each


def test_no_first_request_is_measured():
    """The short first requests, which spread the clients, all end before the window."""
    run = play([10, 30, 20])

    assert all(record.index >= 4 for record in steady_window(run).finished)


@pytest.mark.parametrize("marks", [(), (100,)], ids=["no mark", "ramp only"])
def test_a_load_without_a_round_has_no_window(marks):
    """No completed round raises NoSamplesError that carries the fault."""
    run = a_load_run([a_record()], marks_ns=marks, faults=("the server died",))

    with pytest.raises(NoSamplesError, match="the server died"):
        steady_window(run)


def test_a_round_of_failures_has_no_window():
    """If no request ended well, the first error is named."""
    failed = replace(a_record(), status=RequestStatus.ERROR, error="out of memory")

    with pytest.raises(NoSamplesError, match="out of memory"):
        steady_window(a_load_run([failed], marks_ns=(0, 10**9)))


@given(loops())
def test_rounds_share_out_the_windows_tokens(run):
    """The tokens of the rounds add up to those of the window."""
    window = steady_window(run)
    rounds = pairwise(run.marks_ns)

    assert sum(window.tokens_between(*bounds) for bounds in rounds) == window.tokens_between(
        window.start_ns, window.end_ns
    )


@given(loops())
def test_a_longer_window_holds_no_fewer_tokens(run):
    """Tokens grow with the end of the window."""
    window = steady_window(run)
    ends = sorted(record.finished_ns for record in run.records)
    tokens = [window.tokens_between(window.start_ns, end_ns) for end_ns in ends]

    assert tokens == sorted(tokens)
