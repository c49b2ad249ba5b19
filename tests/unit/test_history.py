"""The history: one line a merge, and an alarm for losses that no merge alone could prove."""

from dataclasses import replace

import numpy as np
import pytest

from perfgate import artifacts, history
from perfgate.errors import BaselineError
from perfgate.gate.drift import ANCHOR, drift
from perfgate.history import Merge
from perfgate.model import Veto
from perfgate.report.history_plot import history_svg
from tests.unit.factories import a_measurement, a_run_info

pytestmark = pytest.mark.unit

CELL = "fp8-b192-c160:throughput_tok_s"


def costs(merges, *, slope=0.0, sd=0.018, seed=1):
    """Log costs of an anchor and `merges` more that lose `slope` each."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, sd, ANCHOR + merges)
    noise[ANCHOR:] += slope * np.arange(1, merges + 1)
    return list(noise)


def test_a_loss_of_a_fifth_of_a_percent_a_merge_is_found_before_four_percent():
    """Of 300 such drifts at least 95 % are found within 20 merges."""
    found = [drift(costs(20, slope=0.002, seed=seed)).alarm is not None for seed in range(300)]

    assert np.mean(found) >= 0.95


def test_steady_merges_raise_few_alarms():
    """Of 200 histories of a hundred unchanged merges most are quiet."""
    alarms = [drift(costs(100, seed=seed)).alarm is not None for seed in range(200)]

    assert np.mean(alarms) < 0.25


def test_one_bad_merge_raises_no_alarm():
    """A single outlier counts three sd, half of what an alarm takes."""
    steady = costs(10, sd=0.001)
    steady[-3] += 1.0

    assert drift(steady).alarm is None


def test_the_anchor_does_not_move():
    """A loss stays an alarm however long it lasts, and its size is told."""
    seen = drift([*costs(0, sd=0.005), *(np.array(costs(40, sd=0.005))[ANCHOR:] + 0.05)])

    assert seen.alarm is not None
    assert seen.scores[-1] > seen.scores[seen.alarm]
    assert seen.loss == pytest.approx(0.049, abs=0.005)
    assert seen.onset == ANCHOR


def test_nothing_is_said_before_the_anchor_is_complete():
    """Twenty merges are the anchor; the next is the first to be judged."""
    assert drift([0.0] * ANCHOR) is None
    assert drift(costs(1)) is not None


def a_stored_run(folder, *, commit="0123456789ab", vetoes=()):
    """A finished run's measurements.json."""
    artifacts.save_measurements(
        folder,
        artifacts.MeasurementsFile(
            run=replace(a_run_info(), commit=commit), measurements=(a_measurement(vetoes=vetoes),)
        ),
    )
    return folder


def test_a_merge_is_remembered_once(tmp_path):
    """Remembering the same run twice adds one line."""
    path = tmp_path / history.FILE
    hardware, merge = history.merge_of(a_stored_run(tmp_path / "a"))

    history.remember(path, merge)
    history.remember(path, merge)

    assert hardware == "gb10-sim"
    assert history.load(path) == (merge,)
    assert merge.values[CELL] == 3030.0
    assert f"{CELL}: 1 merges" in history.table((merge,))


def test_what_is_no_merge_is_not_remembered(tmp_path):
    """Uncommitted files and vetoed measurements have no place in a history."""
    dirty = a_stored_run(tmp_path / "a", commit="0123456789ab-dirty")
    vetoed = a_stored_run(tmp_path / "b", vetoes=(Veto(rule="x", message="x"),))

    with pytest.raises(BaselineError, match="merge first"):
        history.merge_of(dirty)
    with pytest.raises(BaselineError, match="no sound measurement"):
        history.merge_of(vetoed)


def test_a_drifting_cell_is_told_with_its_onset_and_drawn():
    """The table names the commit where it began; the plot marks the alarm."""
    values = costs(30, slope=0.004, sd=0.005)
    merges = tuple(
        Merge(commit=f"c{i}", measured_at="2026-01-01", values={CELL: float(np.exp(-cost))})
        for i, cost in enumerate(values)
    )

    assert "drifts since about c" in history.table(merges)
    _, found = history.of_cell(merges, CELL)
    assert found == pytest.approx(values)
    svg = history_svg(CELL, found, drift(found))
    assert svg.count("<svg") == 1
    assert CELL in svg or "CUSUM" in svg
