"""The search: seeded, kept, resumed, and better than what it began with."""

import sys

import pytest

from perfgate.errors import MissingRequirementError, UsageError
from perfgate.explore.search import JOURNAL, Search
from perfgate.explore.trials import fastest
from tests.unit.explore_samples import GOAL, a_space, a_start, toy

pytestmark = pytest.mark.unit

CANDIDATES = 12


def a_search(folder, **changes):
    """A search of the sample space in a folder."""
    return Search(folder, **{"space": a_space(), "goal": GOAL, "seed": 1, "tries": 3} | changes)


def run(search, candidates=CANDIDATES, target=toy):
    """Try candidates until there are so many; what was tried."""
    while search.candidates < candidates:
        search.step(target)
    return search.trials


class Stopper:
    """A target whose user loses patience at the n-th trial."""

    def __init__(self, at):
        self.left = at

    def __call__(self, settings):
        """Answer as the toy does, or be interrupted."""
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return toy(settings)


def test_the_search_begins_with_the_point_as_it_is(tmp_path):
    """What is served today is the first candidate: the search cannot end below it."""
    search = a_search(tmp_path)
    search.step(toy)

    assert search.trials[0].settings == a_space().settings_of(a_start())


def test_equal_seeds_make_equal_searches(tmp_path):
    """A search can be repeated; another seed makes another one."""
    one, two = (run(a_search(tmp_path / name)) for name in ("one", "two"))
    other = run(a_search(tmp_path / "other", seed=2))

    assert one == two
    assert one != other


@pytest.mark.parametrize("at", [0, 1, 5, 20])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path, at):
    """Whenever it is stopped, the end is the same: the journal holds all that counts."""
    with pytest.raises(KeyboardInterrupt):
        run(a_search(tmp_path / "stopped"), target=Stopper(at))

    assert run(a_search(tmp_path / "stopped")) == run(a_search(tmp_path / "whole"))


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_line_left_by_a_kill_is_no_loss(tmp_path, cut):
    """A journal that ends in the middle of a line is read up to there."""
    run(a_search(tmp_path), candidates=4)
    journal = tmp_path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])

    assert run(a_search(tmp_path)) == run(a_search(tmp_path / "whole"))


def test_another_search_does_not_go_on_in_its_folder(tmp_path):
    """Trials of another goal or seed are never mixed in."""
    run(a_search(tmp_path), candidates=1)

    with pytest.raises(UsageError, match="another point, profile, goal or seed"):
        a_search(tmp_path, seed=2)


def test_the_optimiser_finds_what_pays(tmp_path):
    """Of settings with a known optimum it comes near in fifty candidates."""
    search = a_search(tmp_path, tries=6)
    best = fastest(run(search, candidates=50), GOAL)

    assert best.outcome.throughput_tok_s >= 0.98 * 20 * 140
    assert (best.settings.precision, best.settings.batching) == ("fp8", "inflight_fused_batching")
    decided = search.importance()
    assert sum(decided.values()) == pytest.approx(1)
    assert decided.keys() == a_space().ranges.keys()
    assert decided["slots"] > decided["scheduler_policy"]  # which this target ignores


def test_a_few_candidates_say_nothing_of_importance(tmp_path):
    """Under forty there is no best tenth to speak of."""
    search = a_search(tmp_path)
    run(search)

    assert search.importance() == {}


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    """The search is an extra: its absence says how to get it."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(MissingRequirementError, match=r"perfgate\[explore\]"):
        a_search(tmp_path)
