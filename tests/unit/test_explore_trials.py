"""Which of the tried settings are kept, and what one of them is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import ServerError
from perfgate.explore.trials import (
    Trial,
    climb,
    effects,
    fastest,
    front_runners,
    nearest,
    pareto,
    refine,
)
from perfgate.model import BatchingStrategy, Precision
from tests.unit.explore_samples import GOAL, a_trial, an_outcome, some_settings, toy

pytestmark = pytest.mark.unit


def outcomes():
    """Any throughput and latency."""
    return st.builds(an_outcome, st.floats(1, 5000), st.floats(0.1, 20))


def at(**changes):
    """Settings of the sample at a given concurrency."""
    return lambda concurrency: some_settings(concurrency=concurrency, **changes)


@given(st.lists(outcomes(), max_size=30))
def test_the_front_holds_exactly_what_nothing_beats(reached):
    """A trial is on the front if no other one is as fast and as quick, and better in one."""
    trials = [a_trial(i, outcome=outcome) for i, outcome in enumerate(reached)]
    front = [one.outcome for one in pareto(trials, GOAL)]

    def beaten(one):
        return any(
            other.throughput_tok_s >= one.throughput_tok_s
            and other.latency_p95_s <= one.latency_p95_s
            and other != one
            for other in reached
        )

    assert set(front) == {one for one in reached if not beaten(one)}
    assert front == sorted(front, key=lambda one: one.latency_p95_s)


def test_a_point_that_the_gate_would_call_unstable_is_not_chosen():
    """However fast, P95 over the policy's multiple of the median leaves the front."""
    steady, spread = a_trial(0), a_trial(1, outcome=an_outcome(4000, p95=6.5, p50=5.0))

    assert pareto([steady, spread], GOAL) == (steady,)
    assert fastest([steady, spread], GOAL) == steady


def test_front_runners_are_the_fastest_under_the_ceiling():
    """What is over the ceiling is on the front, and is not run for."""
    slow, good, better, over = (
        a_trial(0, 1000, 4.0),
        a_trial(1, 3000, 6.5),
        a_trial(2, 3100, 6.9),
        a_trial(3, 3300, 7.4),
    )
    trials = [over, good, slow, better]

    assert pareto(trials, GOAL)[-1] == over
    assert front_runners(trials, GOAL, 2) == (better, good)


def test_where_nothing_meets_the_goal_the_nearest_miss_is_known():
    """The optimiser learns from it; it is never chosen."""
    far, near = a_trial(0, 3500, 9.0), a_trial(1, 3300, 7.1)
    failed = Trial(number=2, settings=some_settings(), failure="no engine")

    assert fastest([far, near], GOAL) is None
    assert nearest([far, near, failed], GOAL) == near
    assert nearest([failed], GOAL) is None


@pytest.mark.parametrize("first", [1, 30, 140, 256])
def test_a_climb_ends_at_the_ceiling_wherever_it_begins(first):
    """The highest concurrency whose P95 holds is found in a few trials."""
    trials = climb(at(max_batch_size=256), GOAL, toy, first=first, tries=6)

    assert fastest(trials, GOAL).settings.concurrency in {139, 140}
    assert len({one.settings.concurrency for one in trials}) == len(trials) <= 6


def test_a_climb_gives_up_on_what_cannot_be_served():
    """One refusal is enough: the concurrency is not its reason."""
    (only,) = climb(at(tokens_per_block=128), GOAL, toy, first=10, tries=6)

    assert "does not build that" in only.failure


def test_a_server_that_does_not_start_is_a_failed_trial_and_a_bug_is_not():
    """What the candidate breaks is recorded; anything else is not swallowed."""

    def breaks(error):
        def evaluate(_):
            raise error

        return evaluate

    (only,) = climb(at(), GOAL, breaks(ServerError("out of memory")), first=10, tries=6)
    assert only.failure == "out of memory"
    with pytest.raises(ZeroDivisionError):
        climb(at(), GOAL, breaks(ZeroDivisionError()), first=10, tries=6)


def test_each_setting_is_weighed_at_its_own_best_concurrency():
    """FP16 takes twice the time: it is worth half the clients, not a miss of the ceiling."""
    settings = some_settings(concurrency=140, max_batch_size=256)
    best = Trial(number=0, settings=settings, outcome=toy(settings))
    found = {(one.setting, one.other): one for one in effects(best, GOAL, toy)}

    fp16 = found["precision", "fp16"]
    assert fp16.trial.settings.concurrency in {69, 70}
    assert fp16.throughput_change == pytest.approx(-0.5, abs=0.01)
    assert found["scheduler_policy", "max_utilization"].throughput_change == pytest.approx(
        0, abs=0.01
    )
    refused = found["tokens_per_block", "128"]
    assert refused.trial is None
    assert refused.failure


def test_the_last_steps_lead_to_settings_that_no_single_change_improves():
    """From a bad start each step changes what pays; around the end nothing does."""
    settings = some_settings(
        concurrency=30,
        max_batch_size=256,
        precision=Precision.FP16,
        batching=BatchingStrategy.STATIC,
    )
    start = Trial(number=0, settings=settings, outcome=toy(settings))
    path, around = refine(start, GOAL, toy, number=7, in_time=lambda: True)

    end = path[-1].settings
    assert (end.precision, end.batching) == (Precision.FP8, BatchingStrategy.INFLIGHT)
    assert end.concurrency in {139, 140}
    assert [one.number for one in path] == list(range(7, 7 + len(path)))
    assert all((one.throughput_change or 0) < 0.001 for one in around)


def test_the_last_steps_stop_when_time_is_up():
    """What has been found until then is kept."""
    settings = some_settings(concurrency=30, precision=Precision.FP16)
    start = Trial(number=0, settings=settings, outcome=toy(settings))

    path, around = refine(start, GOAL, toy, number=1, in_time=lambda: False)

    assert path == ()
    assert around
