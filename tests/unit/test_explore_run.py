"""An exploration from start to end: virtual search, what mattered, front-runners on the target."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from perfgate.errors import ServerError
from perfgate.explore import run as module
from perfgate.explore.findings import Budget
from perfgate.explore.run import Task, explore
from perfgate.measure.measure import measure
from perfgate.model import Policy, Veto
from perfgate.records import write_run
from perfgate.sim.report import simulate_point
from tests.unit.explore_samples import GOAL, a_space
from tests.unit.factories import a_run_info, a_steady_run

pytestmark = pytest.mark.unit

# Virtual time gives the same for the same point, and most of these tests ask for the same ones.
REMEMBERED = {}


def remembered(profile, point):
    """Simulate a point once for all tests."""
    key = repr(point)
    if key not in REMEMBERED:
        REMEMBERED[key] = simulate_point(profile, point)
    return REMEMBERED[key]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "simulate_point", remembered)


class Observer:
    """Remembers the steps it is told of."""

    def __init__(self):
        self.steps, self.plans, self.seen = [], [], []

    def plan(self, steps):
        """Take a plan, as a terminal does."""
        self.plans.append([step.name for step in steps])
        return self

    def begin(self, what):
        """Keep the step's name."""
        self.steps.append(what)

    def advance(self, done, total):
        """Keep how far it got."""
        self.seen.append((done, total))

    def end(self):
        """Nothing to close."""


class Target:
    """Stands for the rig: a measured point takes `gap_ms` a token."""

    def __init__(self):
        self.gap_ms = 53
        self.vetoes = ()
        self.broken = False
        self.measured = []

    @contextmanager
    def rig(self, folder, observer):  # noqa: ARG002 - the signature is the rig's
        """Open it in a folder."""
        self.folder = folder
        yield self

    def measure(self, point):
        """Measure a point, and keep its records."""
        self.measured.append(point.id)
        if self.broken:
            raise ServerError("it did not start")
        run = a_steady_run(point, gap_ms=self.gap_ms)
        path = write_run(self.folder / "records", run)
        return replace(measure(run, Policy(), records=str(path)), vetoes=self.vetoes)


class Clock:
    """Goes on by `step` seconds whenever it is read."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        """Seconds."""
        self.now += self.step
        return self.now


def run(folder, *, target=None, clock=None, observer=None, **changes):
    """Explore a space of short requests at low concurrency, which virtual time runs quickly."""
    space = a_space()
    load = replace(space.start.workload, isl=16, osl=8, concurrency=4)
    space = replace(space, start=replace(space.start, workload=load))
    budget = Budget(**{"candidates": 3, "minutes": 10.0, "confirm": 1} | changes)
    target = target or Target()
    goal = replace(GOAL, ceiling_p95_s=0.32)
    return explore(
        Task(space=space, goal=goal, policy=Policy(), budget=budget, seed=1),
        folder,
        observe=(observer or Observer()).plan,
        open_rig=target.rig,
        clock=clock or Clock(),
        info=a_run_info,
    )


def test_what_is_found_is_no_worse_than_what_is_served(tmp_path):
    """The point as it is is the first trial, and the best one is at least as fast."""
    found = run(tmp_path)

    assert found.start_settings in [one.settings for one in found.trials]
    assert found.best_outcome.throughput_tok_s >= found.start_outcome.throughput_tok_s
    assert found.goal.met(found.best_outcome)
    assert found.best in found.front
    assert {sweep.name for sweep in found.sweeps} == {
        "as it is",
        "best",
        "best, static batching",
    }
    assert found.best_outcome.throughput_tok_s < found.limits[0].throughput_tok_s
    assert found.spent.candidates == 3


def test_an_exploration_can_be_repeated(tmp_path, monkeypatch):
    """Seeded and in virtual time, two of them find the same."""
    monkeypatch.setattr(module, "simulate_point", simulate_point)
    one, two = run(tmp_path / "one"), run(tmp_path / "two")

    assert one.trials == two.trials
    assert one.effects == two.effects


def test_front_runners_are_measured_as_any_point_is(tmp_path):
    """The fastest is measured on the target, and promise and measurement stand side by side."""
    target = Target()
    found = run(tmp_path, target=target)

    (confirmed,) = found.confirmed
    assert target.measured == [found.best_point.id]
    assert confirmed.trial == found.best
    assert confirmed.promised == found.best_outcome
    assert confirmed.measured.throughput_tok_s > 0
    assert confirmed.records.endswith(f"{found.best_point.id}.jsonl.gz")


def test_a_vetoed_measurement_confirms_nothing(tmp_path):
    """It is told with its vetoes, and holds nothing."""
    target = Target()
    target.vetoes = (Veto(rule="client-lag", message="late"),)
    (confirmed,) = run(tmp_path, target=target).confirmed

    assert confirmed.vetoes == target.vetoes
    assert not confirmed.met


def test_a_server_that_does_not_start_is_told_and_the_rest_is_kept(tmp_path):
    """The search is not lost to its last step."""
    target = Target()
    target.broken = True
    found = run(tmp_path, target=target)

    (confirmed,) = found.confirmed
    assert "did not start" in confirmed.failure
    assert found.best is not None


def test_a_second_call_does_not_do_again_what_is_done(tmp_path):
    """Neither candidates nor sound measurements are repeated; more candidates are added."""
    target = Target()
    first = run(tmp_path, target=target)
    second = run(tmp_path, target=target, candidates=4)

    assert second.spent.earlier == 3
    assert second.spent.candidates == 4
    assert len(target.measured) == len({*target.measured})
    shared = sum(1 for a, b in zip(first.trials, second.trials, strict=False) if a == b)
    assert shared >= 3


def test_minutes_end_the_search_before_its_candidates(tmp_path):
    """Whoever gives little time gets few candidates, and is told so."""
    found = run(tmp_path, clock=Clock(step=1.0), candidates=500, minutes=1.6)

    assert 1 <= found.spent.candidates < 30
    assert found.budget.candidates == 500


def test_no_time_left_measures_nothing(tmp_path):
    """A front-runner that does not fit the budget is left out, not started."""
    target = Target()
    found = run(tmp_path, target=target, clock=Clock(step=60.0), minutes=1.0)

    assert found.confirmed == ()
    assert target.measured == []


def test_the_wait_is_never_silent(tmp_path):
    """Each stretch of work is announced, with candidates counted."""
    observer = Observer()
    run(tmp_path, observer=observer)

    assert observer.steps[:2] == ["search settings", "ask what mattered"]
    assert observer.seen == [(1, 3), (2, 3), (3, 3)]
    assert observer.plans[0][-1] == "measure the front-runners"
    assert observer.plans[1][0].startswith("boot Triton")


def test_hardware_that_cannot_be_simulated_is_tried_itself(tmp_path):
    """Without a model of the hardware each trial is a measurement, and few are asked."""
    target = Target()
    space = a_space()
    load = replace(space.start.workload, isl=16, osl=8, concurrency=4)
    bare = replace(space.profile, simulation=None)
    space = replace(space, start=replace(space.start, workload=load), profile=bare)
    goal = replace(GOAL, ceiling_p95_s=0.5)
    found = explore(
        Task(
            space=space,
            goal=goal,
            policy=Policy(),
            budget=Budget(candidates=1, minutes=30.0, confirm=0),
            seed=1,
        ),
        tmp_path,
        observe=Observer().plan,
        open_rig=target.rig,
        clock=Clock(),
        info=a_run_info,
    )

    assert not found.virtual
    assert len(target.measured) == len(found.trials) > 0
    assert found.limits == found.effects == ()
