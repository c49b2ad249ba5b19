"""Goodput, and what a gap is when messages bundle tokens."""

from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.measure.goodput import goodput, meets
from perfgate.measure.measure import measure
from perfgate.measure.window import Window
from perfgate.model import Goodput, Objective, Policy, Sampling
from perfgate.report.sentences import goodput_lines
from tests.unit.factories import a_load_run, a_measurement, a_point, a_record

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def request(index, *, ttft_ms=100, gap_ms=10, tokens=5):
    """A request that is sent at `index` tenths of a second."""
    return a_record(
        index,
        sent_ns=index * SECOND // 10,
        ttft_ns=ttft_ms * 1_000_000,
        gap_ns=gap_ms * 1_000_000,
        tokens=tokens,
    )


RECORDS = (
    request(0),
    request(1, ttft_ms=300),
    request(2, gap_ms=50),
    request(3),
    request(4, tokens=1),
)
WINDOW = Window((0, 2 * SECOND), RECORDS)


@pytest.mark.parametrize(
    ("objective", "good"),
    [
        (Objective(ttft_s=0.2), {0, 2, 3, 4}),
        (Objective(tpot_s=0.02), {0, 1, 3, 4}),
        (Objective(itl_s=0.02), {0, 1, 3, 4}),
        (Objective(latency_s=0.25), {0, 3, 4}),
        (Objective(ttft_s=0.2, tpot_s=0.02), {0, 3, 4}),
        (Objective(ttft_s=0.1, itl_s=0.01, latency_s=0.14), {0, 3, 4}),
        (Objective(ttft_s=0.01), set()),
    ],
)
def test_a_request_is_good_if_it_keeps_every_limit(objective, good):
    """A limit is kept by what reaches it exactly; one token has no gap to be too long."""
    assert {record.index for record in RECORDS if meets(record, objective)} == good
    assert goodput(WINDOW, objective) == Goodput(
        requests_s=len(good) / 2,
        tok_s=sum(RECORDS[index].output_tokens for index in good) / 2,
        share=len(good) / 5,
    )


def test_one_long_gap_breaks_the_limit_of_gaps_not_that_of_the_mean():
    """ITL is every gap, TPOT their mean: that is why there are both."""
    record = request(0)
    stalled = replace(
        record, arrivals_ns=(*record.arrivals_ns[:-1], record.arrivals_ns[-1] + 10**8)
    )

    assert not meets(stalled, Objective(itl_s=0.05))
    assert meets(stalled, Objective(tpot_s=0.05))


def test_without_an_objective_there_is_no_goodput():
    """Not zero: nobody said what is good."""
    assert goodput(WINDOW, None) is None
    assert not meets(replace(RECORDS[0], arrivals_ns=(), tokens=()), Objective(ttft_s=9))


def test_an_objective_of_nothing_is_refused():
    """Every request would be good."""
    for limits in ({}, {"ttft_s": 0.0}, {"latency_s": -1.0}):
        with pytest.raises(UsageError):
            Objective(**limits)


def measured(records, **changes):
    """The measurement of a short load of these requests."""
    point = replace(a_point(sampling=Sampling(rounds=1, round_requests=1)), **changes)
    return measure(a_load_run(records, marks_ns=(0, 2 * SECOND), point=point), Policy())


def test_a_point_s_objective_reaches_its_measurement_and_report():
    """In figures and in a sentence that names the limits."""
    found = measured(RECORDS, objective=Objective(ttft_s=0.2, latency_s=0.25))
    (line,) = goodput_lines([found, a_measurement()])

    assert found.goodput.share == pytest.approx(3 / 5)
    assert line == (
        "fp8-b192-c160: goodput 1.50 requests/s and 5.500 tok/s, 60.0 % of requests within"
        " TTFT 200 ms, latency 250 ms."
    )


@pytest.mark.parametrize(
    "odd",
    [replace(RECORDS[0], tokens=(1, 2, 1, 1, 1)), replace(RECORDS[0], counted=False)],
    ids=["a bundle", "not counted"],
)
def test_the_gap_between_bundles_is_no_itl(odd):
    """One message of several tokens, or of nobody knows how many: chunk gaps, and no ITL."""
    plain, bundled = measured(RECORDS), measured((odd, *RECORDS[1:]))

    assert plain.chunk_gap_s is None
    assert bundled.itl_s is None
    assert bundled.chunk_gap_s == plain.itl_s
