"""Single requests in the report: which are shown, and how few of their tokens suffice."""

from dataclasses import replace

import pytest

from perfgate.model import RequestStatus
from perfgate.report.plots import NARROW, WIDE
from perfgate.report.timelines import (
    COLUMNS,
    MOST_REQUESTS,
    MOST_TOKENS,
    pick_timelines,
    timelines_chart,
    timelines_table,
)
from tests.unit.factories import a_record

pytestmark = pytest.mark.unit

MS = 1_000_000


def requests(count, *, tokens=8):
    """Requests whose latency rises with their index."""
    return [a_record(i, ttft_ns=50 * MS, gap_ns=(10 + i) * MS, tokens=tokens) for i in range(count)]


def test_ranks_are_spread_from_the_slowest_to_the_fastest():
    """The extremes are always shown, the others at even ranks between them."""
    shown = pick_timelines(requests(61))

    assert [one.index for one in shown] == [60, 50, 40, 30, 20, 10, 0]
    assert [one.rank for one in shown] == [
        *("slowest", "P83", "P67", "P50", "P33", "P17"),
        "fastest",
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_requests_are_all_shown(count):
    """None is shown twice, and none is made up."""
    assert [one.index for one in pick_timelines(requests(count))] == list(reversed(range(count)))


def test_requests_that_failed_are_not_shown():
    """A request without tokens, or cut off, has no whole timeline."""
    good, cut, empty = requests(3)
    cut = replace(cut, status=RequestStatus.UNFINISHED)
    empty = replace(empty, arrivals_ns=(), tokens=())

    assert [one.index for one in pick_timelines([good, cut, empty])] == [good.index]


def test_a_long_request_is_thinned_but_keeps_what_matters():
    """Of 100 000 tokens few are drawn: the first, the last and the longest gap among them."""
    (record,) = requests(1, tokens=100_000)
    arrivals = list(record.arrivals_ns)
    stalled = [a + (500 * MS if i > 77_777 else 0) for i, a in enumerate(arrivals)]
    (one,) = pick_timelines([replace(record, arrivals_ns=tuple(stalled))])

    assert len(one.arrivals_s) <= MOST_TOKENS
    assert one.tokens == 100_000
    assert one.arrivals_s[0] == stalled[0] / 1e9
    assert one.arrivals_s[-1] == stalled[-1] / 1e9 == one.latency_s
    assert (one.gap.start_s, one.gap.end_s) == (stalled[77_777] / 1e9, stalled[77_778] / 1e9)
    assert {one.gap.start_s, one.gap.end_s} <= set(one.arrivals_s)


def test_times_count_from_when_the_request_was_due():
    """A client that was late to send does not shorten the wait."""
    record = replace(a_record(sent_ns=30 * MS, ttft_ns=50 * MS), due_ns=10 * MS)

    assert pick_timelines([record])[0].arrivals_s[0] == pytest.approx(0.070)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_each_token_is_a_tick(width):
    """One stroke a token, the wait before the first as a bar, the longest gap in words too."""
    drawn = str(timelines_chart("requests", pick_timelines(requests(3)), width=width))

    assert drawn.count("v20") == 3 * 8
    assert drawn.count('class="gap"') == 3 + 1  # and one in the legend
    assert "slowest, no. 2" in drawn
    assert "gap 12.0 ms" in drawn


def test_one_token_has_no_gap():
    """Nothing lies between a single token and itself."""
    shown = pick_timelines(requests(1, tokens=1))

    assert shown[0].gap is None
    assert "gap" not in str(timelines_chart("requests", shown)).split("longest gap")[1]


def test_the_table_says_what_the_strips_show():
    """The same requests, in numbers; a single token has no gap."""
    first, *_ = timelines_table(pick_timelines(requests(3)))
    (single,) = timelines_table(pick_timelines(requests(1, tokens=1)))

    assert dict(zip(COLUMNS, first, strict=True)) == {
        "request": "2",
        "rank": "slowest",
        "tokens": "8",
        "TTFT": "50.0 ms",
        "latency": "134 ms",
        "longest gap": "12.0 ms",
        "at": "50.0 ms",
    }
    assert single[-2:] == ("one token", "-")


def test_a_page_holds_few_requests_however_many_ran():
    """The cap is on what is shown, not on what is measured."""
    assert len(pick_timelines(requests(500))) == MOST_REQUESTS
