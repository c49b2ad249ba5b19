"""What a load sends: lengths within bounds, rates that come out, the same for a seed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthClass,
    LengthLaw,
    Sessions,
    Workload,
)
from perfgate.traffic.schedule import draw_lengths, first_request, plan_schedule
from perfgate.traffic.trace import TraceRow
from tests.unit.traffic_samples import a_mix, a_replay, lengths, loads, open_loads

pytestmark = pytest.mark.unit


@given(loads(), st.integers(0, 300), st.integers(0, 300))
def test_a_longer_schedule_begins_with_the_shorter(load, one, other):
    """The same seed gives the same requests, however many are planned."""
    short, long = (plan_schedule(load, count) for count in sorted((one, other)))

    assert long.isl[: len(short.isl)] == short.isl
    assert long.osl[: len(short.osl)] == short.osl
    assert long.due_ns[: len(short.due_ns)] == short.due_ns
    assert long.parts[: len(short.parts)] == short.parts


@given(loads(), st.integers(0, 300))
def test_every_request_has_its_lengths(load, count):
    """As many as planned, none over the load's greatest lengths, none of nothing."""
    schedule = plan_schedule(load, count)

    assert len(schedule.isl) == len(schedule.osl) == count
    assert len(schedule.due_ns) == (count if load.arrivals else 0)
    assert len(schedule.parts) == (count if load.mix else 0)
    for isl, osl in zip(schedule.isl, schedule.osl, strict=True):
        assert 1 <= isl <= load.longest_prompt
        assert 1 <= osl <= load.osl
        assert isl + osl <= load.most_tokens


@given(loads(), st.integers(1, 300))
def test_lengths_lie_within_their_part_s_bounds(load, count):
    """In an open loop exactly; in a closed one each client's first request may be shorter."""
    schedule = plan_schedule(load, count)
    firsts = {first_request(load, client) for client in range(load.concurrency)}

    named = {part.name: part for part in load.mix}
    for position, name in enumerate(schedule.parts):
        part = named[name]
        assert part.isl.least <= schedule.isl[position] <= part.isl.most
        assert schedule.osl[position] <= part.osl.most
        if load.arrivals or position not in firsts:
            assert schedule.osl[position] >= part.osl.least


@given(open_loads(), st.integers(1, 300))
def test_arrivals_are_in_order(load, count):
    """Nothing is due before what comes earlier, nor before the start."""
    due_ns = plan_schedule(load, count).due_ns

    assert due_ns[0] >= 0
    assert all(later >= earlier for earlier, later in pairwise(due_ns))


@given(st.floats(0.5, 500), st.integers(1, 400))
def test_evenly_spaced_arrivals_keep_their_distance(rate, count):
    """Request i is due i / rate after the start, to the nanosecond."""
    arrivals = Arrivals(process=ArrivalProcess.CONSTANT, requests_per_s=rate)
    load = Workload(concurrency=1, isl=1, osl=1, arrivals=arrivals)

    expected = [i / rate * 1e9 for i in range(count)]
    assert plan_schedule(load, count).due_ns == pytest.approx(expected, abs=1)


@given(st.floats(1, 100), st.integers(2, 40), st.integers(1, 10))
def test_bursts_come_at_once_and_keep_the_rate(rate, burst, bursts):
    """`burst` requests are due together, and the bursts burst / rate apart."""
    arrivals = Arrivals(process=ArrivalProcess.BURSTS, requests_per_s=rate, burst=burst)
    load = Workload(concurrency=1, isl=1, osl=1, arrivals=arrivals)
    due_ns = np.array(plan_schedule(load, burst * bursts).due_ns).reshape(bursts, burst)

    assert (due_ns == due_ns[:, :1]).all()
    assert np.diff(due_ns[:, 0]) == pytest.approx(burst / rate * 1e9, abs=2)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_arrivals_have_the_rate_and_the_scatter(seed):
    """Gaps are exponential: the mean is 1 / rate, the standard deviation too, none depends on one.

    Of 20 000 gaps the mean is off by 0.7 % (one sigma), the deviation by 1 %.
    """
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=25.0)
    load = Workload(concurrency=1, isl=1, osl=1, seed=seed, arrivals=arrivals)
    gaps = np.diff(plan_schedule(load, 20_001).due_ns) / 1e9

    assert gaps.mean() == pytest.approx(0.04, rel=0.03)
    assert gaps.std() == pytest.approx(0.04, rel=0.05)
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.03


def test_another_seed_is_another_schedule():
    """The schedule is drawn, not fixed."""
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=5.0)
    one, other = (
        plan_schedule(
            Workload(concurrency=4, isl=96, osl=32, seed=s, mix=a_mix(), arrivals=arrivals), 50
        )
        for s in (1, 2)
    )

    assert one.due_ns != other.due_ns
    assert one.parts != other.parts


@given(lengths(), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_any_uniform_number_gives_a_length_within_bounds(length, uniform):
    """0 too, whose image under a normal law is minus infinity."""
    drawn = draw_lengths(length, np.array(uniform))

    assert drawn.min() >= length.least
    assert drawn.max() <= length.most


@pytest.mark.parametrize("law", [LengthLaw.NORMAL, LengthLaw.LOGNORMAL], ids=str)
def test_laws_have_the_mean_and_deviation_asked_for(law):
    """In tokens, for the log-normal law too."""
    length = Length(least=1, most=100_000, law=law, mean=500, stdev=100)
    drawn = draw_lengths(length, np.random.default_rng(0).random(50_000))

    assert drawn.mean() == pytest.approx(500, rel=0.01)
    assert drawn.std() == pytest.approx(100, rel=0.03)


def test_a_uniform_length_reaches_both_bounds_equally_often():
    """Each of four lengths a quarter of the time."""
    drawn = draw_lengths(Length(least=3, most=6), np.random.default_rng(0).random(40_000))

    assert np.bincount(drawn)[3:] / 40_000 == pytest.approx([0.25] * 4, abs=0.01)


def test_a_mix_has_its_shares():
    """90 % short, 10 % long."""
    load = Workload(concurrency=1, isl=96, osl=32, mix=a_mix(0.9))
    parts = plan_schedule(load, 20_000).parts

    assert parts.count("short") / 20_000 == pytest.approx(0.9, abs=0.01)


def test_a_closed_loop_s_firsts_end_in_turn():
    """Client k's first request asks for a share (k + 1) / concurrency of its tokens."""
    load = Workload(concurrency=4, isl=1, osl=128)

    assert plan_schedule(load, 6).osl == (32, 64, 96, 128, 128, 128)
    assert plan_schedule(Workload(concurrency=400, isl=1, osl=128), 1).osl == (1,)


def test_a_turn_carries_the_conversation_so_far():
    """Each prompt holds all prompts and answers before it."""
    load = Workload(concurrency=2, isl=10, osl=4, sessions=Sessions(turns=3))

    assert plan_schedule(load, 6).isl == (10, 24, 38, 10, 24, 38)
    assert load.longest_prompt == 38
    assert load.most_tokens == 42


def test_conversations_are_met_in_mid_course():
    """Early and late turns are in flight together from the start; their answers end in turn."""
    load = Workload(concurrency=3, isl=10, osl=9, sessions=Sessions(turns=3))

    assert [first_request(load, client) for client in range(3)] == [0, 4, 8]
    assert plan_schedule(load, 9).osl == (3, 9, 9, 9, 6, 9, 9, 9, 9)


def test_a_trace_is_replayed_as_recorded():
    """Lengths as they are, times at the rate asked for."""
    rows = (TraceRow(0, 5, 6), TraceRow(1_000_000_000, 7, 8), TraceRow(4_000_000_000, 9, 1))
    load = a_replay(rows, requests_per_s=1.0)
    schedule = plan_schedule(load, 3, rows)

    assert schedule.isl == (5, 7, 9)
    assert schedule.osl == (6, 8, 1)
    assert schedule.due_ns == (0, 500_000_000, 2_000_000_000)


def test_a_trace_too_short_is_told():
    """Nothing is sent twice to fill it up."""
    rows = (TraceRow(0, 5, 6), TraceRow(10, 7, 8))

    with pytest.raises(UsageError, match=r"t\.jsonl: requests: got 2, but this load takes 3"):
        plan_schedule(a_replay(rows), 3, rows)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"mix": a_mix()[:1]}, "share: got 0.9, but the shares of a mix must add up to 1"),
        ({"mix": a_mix(), "isl": 128}, r"isl, osl: got '128, 32'.*\(96, 32\)"),
        ({"seed": -1}, "seed: got -1"),
        (
            {
                "sessions": Sessions(turns=2),
                "arrivals": Arrivals(process=ArrivalProcess.CONSTANT, requests_per_s=1),
            },
            "sessions: got 2",
        ),
    ],
)
def test_a_load_that_contradicts_itself_is_refused(parts, told):
    """With field, value and rule."""
    with pytest.raises(UsageError, match=told):
        Workload(**{"concurrency": 1, "isl": 96, "osl": 32} | parts)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Length(least=5, most=4), "most: got 4, but it must not be under least"),
        (lambda: Length(least=1, most=4, law=LengthLaw.NORMAL, mean=2), "stdev: got None"),
        (lambda: Length(least=1, most=4, mean=2), "mean: got 2"),
        (
            lambda: LengthClass(
                name="a", share=0, isl=Length(least=1, most=1), osl=Length(least=1, most=1)
            ),
            "share: got 0",
        ),
        (lambda: Sessions(turns=1), "turns: got 1"),
        (lambda: Sessions(turns=2, think_s=-1), "think_s: got -1"),
        (lambda: Arrivals(process=ArrivalProcess.POISSON, requests_per_s=0), "requests_per_s: got"),
        (lambda: Arrivals(process=ArrivalProcess.BURSTS, requests_per_s=1), "burst: got 1"),
        (lambda: Arrivals(process=ArrivalProcess.POISSON, requests_per_s=1, burst=2), "burst: got"),
        (lambda: Arrivals(process=ArrivalProcess.REPLAY, requests_per_s=1), "trace: got None"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(make, told):
    """Before any of it is drawn."""
    with pytest.raises(UsageError, match=told):
        make()
