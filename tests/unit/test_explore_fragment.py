"""explore.toml: appended to points.toml it is a point like any other, and keeps its promise."""

import shutil
from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.explore.fragment import points_toml
from perfgate.model import BatchingStrategy, SchedulerPolicy
from perfgate.sim.report import simulate_point
from perfgate.suite import load_suite
from tests.unit.explore_samples import a_space, some_settings
from tests.unit.sim_samples import ROOT, gb10

pytestmark = pytest.mark.unit


def a_suite_with(folder, points, **said):
    """This project's suite with a fragment appended to its points.toml."""
    text = points_toml(
        points,
        **{"hardware": "gb10-sim", "ceiling_p95_s": 7.0, "source": "perfgate explore"} | said,
    )
    suite = (ROOT / "points.toml").read_text(encoding="utf-8")
    (folder / "points.toml").write_text(f"{suite}\n{text}", encoding="utf-8")
    shutil.copy(ROOT / "policy.toml", folder / "policy.toml")
    return load_suite(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_num_tokens": 368, "tokens_per_block": 64, "chunked_context": True},
        {"batching": BatchingStrategy.STATIC, "kv_cache_tokens": 4096},
        {"scheduler_policy": SchedulerPolicy.MAX_UTILIZATION, "concurrency": 7},
    ],
)
def test_the_point_read_back_is_the_point_that_was_found(tmp_path, changes):
    """Every setting is written: no default of the file that it joins can change it."""
    point = a_space().point(some_settings(**changes))
    suite = a_suite_with(tmp_path, {"3000 tok/s": point})
    read = suite.point(f"explored-{point.id}")

    assert (read.engine, read.serving, read.sampling) == (
        point.engine,
        point.serving,
        point.sampling,
    )
    assert read.workload == point.workload
    assert read.claim.ceiling_p95_s == 7.0
    assert read.claim.floor_tok_s is None


def test_the_fragment_measures_in_virtual_time_what_was_promised(tmp_path):
    """Who appends the fragment gets the number beside it, to the last digit."""
    point = a_space().point(some_settings(concurrency=24, max_batch_size=32, max_num_tokens=256))
    promised = simulate_point(gb10(), point)
    suite = a_suite_with(tmp_path, {"promised": point})

    assert simulate_point(gb10(), suite.point(f"explored-{point.id}")) == promised


def test_words_cannot_break_the_file(tmp_path):
    """A quote in what is said of the point stays a quote."""
    point = a_space().point(some_settings())
    source = 'he said "faster" \\ and a \n new line'
    suite = a_suite_with(tmp_path, {"fine": point}, source=source)

    assert suite.point(f"explored-{point.id}").claim.source == source


def test_a_fragment_appended_twice_is_refused(tmp_path):
    """The same engine twice is an error of the file, not a silent choice."""
    point = a_space().point(some_settings())
    other = replace(point, sampling=replace(point.sampling, rounds=5))

    with pytest.raises(UsageError):
        a_suite_with(tmp_path, {"one": point, "two": other})
