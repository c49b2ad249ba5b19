"""Where a sweep measures next."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.sweep.choice import Done, Seen, expected_seconds, grid, next_choice, sampling_at
from tests.unit.sweep_samples import a_plan, curve, swept

pytestmark = pytest.mark.unit


def concurrencies(seen):
    """What was measured, in rising order."""
    return sorted(one.concurrency for one in seen)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [(192, (1, 2, 4, 8, 16, 32, 64, 128, 192, 256)), (16, (1, 2, 4, 8, 16, 32)), (1, (1, 2))],
)
def test_the_coarse_grid_goes_beyond_the_batch(batch, expected):
    """Powers of two up to twice max_batch_size, and max_batch_size itself, the lowest first."""
    seen, _ = swept(a_plan(max_batch_size=batch))

    assert grid(a_plan(max_batch_size=batch)) == expected
    assert [one.concurrency for one in seen][: len(expected)] == list(expected)


def test_a_list_is_measured_as_it_is():
    """Who names concurrencies gets these, sorted, whatever the budget and the curve."""
    seen, why = swept(a_plan(concurrencies=(64, 8, 8, 160), budget_s=1))

    assert [one.concurrency for one in seen] == [8, 64, 160]
    assert "every concurrency asked for" in why


@pytest.mark.parametrize("ceiling_s", [4.5, 5.0, 7.0, 9.0])
def test_the_ceiling_is_bracketed_to_a_sixteenth(ceiling_s):
    """The neighbours on either side of it are that close, also far away from knee and corner."""
    seen, why = swept(a_plan(ceiling_p95_s=ceiling_s, budget_s=1e9))
    sides = [(one.concurrency, one.latency_p95_s <= ceiling_s) for one in seen if one.latency_p95_s]
    (bracket,) = [pair for pair in pairwise(sorted(sides)) if pair[0][1] != pair[1][1]]

    assert bracket[1][0] - bracket[0][0] <= bracket[1][0] // 16
    assert "to a sixteenth" in why


@given(st.floats(0.005, 0.05), st.floats(0.00005, 0.001), st.sampled_from([16, 64, 128, 192, 256]))
def test_the_knee_of_any_saturating_engine_is_bracketed(fixed_s, each_s, batch):
    """The highest power has close neighbours, and the knee a close one below, if there are any."""
    seen, _ = swept(
        a_plan(max_batch_size=batch, budget_s=1e9),
        of=lambda c: curve(c, fixed_s=fixed_s, each_s=each_s, batch=batch),
    )
    ordered = sorted(seen, key=lambda one: one.concurrency)
    powers = [one.throughput_tok_s / one.latency_p50_s for one in ordered]
    best = powers.index(max(powers))
    knee = next(i for i, power in enumerate(powers) if power >= 0.98 * max(powers))

    beside = (ordered[max(best - 1, 0) : best + 2], ordered[max(knee - 1, 0) : knee + 1])
    for low, high in (pair for some in beside for pair in pairwise(some)):
        assert high.concurrency - low.concurrency <= max(1, high.concurrency // 16)


def test_a_straight_stretch_gets_no_point():
    """Windows go where the curve bends: a flat line beyond the batch is left alone."""
    seen, _ = swept(a_plan(max_batch_size=64, ceiling_p95_s=None), of=lambda c: curve(c, batch=64))

    assert not [c for c in concurrencies(seen) if c > 96 and c != 128]


@pytest.mark.parametrize("factors", [(0.25, 1), (1, 4)], ids=["throughput", "latency"])
def test_a_bend_away_from_knee_and_ceiling_is_measured(factors):
    """A kink of either, low on the curve, is found by the line that misses it."""

    def kinked(concurrency):
        throughput, latency = curve(concurrency)
        slow, late = factors if concurrency <= 40 else (1, 1)  # a bug of small batches, say
        return throughput * slow, latency * late

    seen, _ = swept(a_plan(ceiling_p95_s=None, budget_s=1e9), of=kinked)

    assert any(36 <= c <= 44 for c in concurrencies(seen))


@pytest.mark.parametrize("minutes", [3, 6, 10])
def test_the_budget_is_kept(minutes):
    """The sum of what the points cost stays below what was stated, and the last word says so."""
    seen, why = swept(a_plan(budget_s=60 * minutes))

    assert sum(one.seconds for one in seen) <= 60 * minutes
    assert ("budget" in why) == (minutes < 10)


def test_no_point_is_chosen_twice_though_it_could_not_be_measured():
    """A concurrency that failed is left out, named, and does not stop the others."""
    plan, seen = a_plan(), []
    while not isinstance(step := next_choice(plan, seen), Done):
        assert step.concurrency not in concurrencies(seen)
        throughput, latency = curve(step.concurrency)
        values = {
            "throughput_tok_s": throughput,
            "latency_p50_s": latency,
            "latency_p95_s": latency,
        }
        broken = step.concurrency == 176
        seen.append(Seen(concurrency=step.concurrency, seconds=1, **({} if broken else values)))

    assert "176 could not be measured" in step.why


def test_a_low_concurrency_does_not_cost_minutes():
    """One client alone ends four requests; from fifteen clients on there are enough for a P95."""
    plan = a_plan()
    alone, many = sampling_at(plan, 1), sampling_at(plan, 160)

    assert alone.rounds * alone.round_requests == 4
    assert many.rounds * many.round_requests == 320
    assert (sampling_at(plan, 191).ramp, sampling_at(plan, 192).ramp) == (1, 2)
    assert 4 * sampling_at(plan, 15).round_requests == 60


def test_cost_follows_latency_and_waves():
    """What is expected of a point: ramp, rounds and the last requests, at the latency between."""
    seen = [
        Seen(concurrency=c, seconds=1, throughput_tok_s=1.0, latency_p50_s=s)
        for c, s in ((64, 5.0), (128, 7.0))
    ]

    assert expected_seconds(a_plan(), seen, 96) == pytest.approx(6.0 * (1 + 2 + 1) + 3)
    assert expected_seconds(a_plan(), seen, 384) == pytest.approx(14.0 * (2 + 2 + 1) + 3)


@pytest.mark.parametrize(
    "changes", [{"concurrencies": (0,)}, {"concurrencies": (8, -1)}, {"budget_s": 0}]
)
def test_a_sweep_of_nothing_is_refused(changes):
    """Field, value and rule, before anything runs."""
    with pytest.raises(UsageError):
        a_plan(**changes)
