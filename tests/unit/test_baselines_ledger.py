"""How limits change: up when confirmed, down by name, and never by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from perfgate.baselines import accept, broken, load, lower, record, save, thin
from perfgate.baselines.record import empty
from perfgate.errors import BaselineError, UsageError
from perfgate.model import Baseline, Lowering, Policy, Precision
from tests.unit.factories import a_cell, a_claim, a_point, a_sample

pytestmark = pytest.mark.unit

POINT = a_point(claim=a_claim())
NAME = POINT.id
TODAY = date(2026, 1, 20)


def a_baseline(samples=()):
    """A baseline as `record` makes it, with runs."""
    first = record(
        empty("gb10-sim", "llm-7b", Precision.FP8), [POINT], policy=Policy(), session="", commit=""
    )
    cell = replace(first.cells[NAME], samples=tuple(samples))
    return replace(first, cells={NAME: cell})


def fast_runs(count=6, *, days=3, level=3300.0):
    """Sessions of a faster level, over several days."""
    rng = np.random.default_rng(1)
    start = datetime(2026, 1, 10, tzinfo=UTC)
    return [
        a_sample(
            level * float(np.exp(rng.normal(0, 0.004))),
            session=f"s{i}",
            measured_at=(start + timedelta(days=i % days)).isoformat(),
        )
        for i in range(count)
    ]


def accepted(baseline, count=6):
    """Accept the named sessions."""
    sessions = [f"s{i}" for i in range(count)]
    return accept(baseline, NAME, sessions, now="2026-01-15T00:00:00+00:00", commit="c")


def a_lowering(**changes):
    """A lowering of one percent."""
    return Lowering(
        **{
            "cell": NAME,
            "floor_tok_s": 2970.0,
            "before_tok_s": 3000.0,
            "reason": "driver clocks lower",
            "expires": "2026-03-01",
            "lowered_at": "2026-01-16T00:00:00+00:00",
            "commit": "c",
            **changes,
        }
    )


def stored(tmp_path, baseline):
    """A baseline as it is after a save."""
    return load(save(tmp_path, baseline))


def sins(baseline, *, points=(POINT,), today=TODAY):
    """What verify says."""
    return broken(baseline, points, Policy(), today=today)


def test_a_confirmed_improvement_raises_the_floor_below_its_mean(tmp_path):
    """The new floor is a bound of single runs at the new level, above the old floor."""
    raised = stored(tmp_path, accepted(a_baseline(fast_runs())))

    assert 3000 < raised.cells[NAME].floor_tok_s < 3300 * 0.995
    assert not sins(raised)


def test_recording_more_runs_keeps_the_accepted_floor(tmp_path):
    """A ratchet does not slip back to the claim."""
    raised = accepted(a_baseline(fast_runs()))
    again = record(raised, [POINT], policy=Policy(), session="", commit="")

    assert again.cells[NAME].floor_tok_s == raised.cells[NAME].floor_tok_s
    assert not sins(stored(tmp_path, again))


@pytest.mark.parametrize(
    ("samples", "count"),
    [(fast_runs(2), 2), (fast_runs(6, days=1), 6)],
    ids=["two sessions", "one day"],
)
def test_an_unconfirmed_improvement_raises_nothing(samples, count):
    """Three sessions on two days, or it may be that day's weather."""
    with pytest.raises(BaselineError, match="confirmed"):
        accepted(a_baseline(samples), count)


def test_a_floor_is_never_lowered_by_accepting():
    """Sessions that confirm less than the floor change nothing."""
    with pytest.raises(BaselineError, match="only raised"):
        accepted(a_baseline(fast_runs(level=3005.0)))


def test_a_lowering_stands_in_the_ledger_until_it_expires(tmp_path):
    """It is sound until its day, then verify asks for the old floor."""
    lowered = stored(tmp_path, lower(a_baseline(), a_lowering(), today=TODAY))

    assert lowered.cells[NAME].floor_tok_s == 2970
    assert not sins(lowered)
    assert "driver clocks lower" in sins(lowered, today=date(2026, 3, 2))[0]


def test_more_than_three_percent_in_all_needs_a_signature():
    """Small steps add up in the ledger."""
    once = lower(a_baseline(), a_lowering(floor_tok_s=2925.0), today=TODAY)
    more = a_lowering(floor_tok_s=2865.0, before_tok_s=2925.0)

    with pytest.raises(UsageError, match="signed-by"):
        lower(once, more, today=TODAY)
    assert lower(once, replace(more, signed_by="a release owner"), today=TODAY).ledger


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"floor_tok_s": 3001.0}, "floor_tok_s"),
        ({"floor_tok_s": -1.0}, "floor_tok_s"),
    ],
    ids=["no reason", "a raise", "below zero"],
)
def test_a_lowering_that_is_none_is_refused(changes, field):
    """A reason is required, and it must lower."""
    with pytest.raises(UsageError, match=field):
        a_lowering(**changes)


def test_a_lowering_must_end_in_the_future():
    """An expiry in the past is no expiry."""
    with pytest.raises(UsageError, match="expires"):
        lower(a_baseline(), a_lowering(expires="2026-01-20"), today=TODAY)


def test_a_hand_edit_is_found(tmp_path):
    """Another floor in the file: its digest differs, and so does what the runs give."""
    path = save(tmp_path, a_baseline(fast_runs()))
    path.write_text(path.read_text().replace('"floor_tok_s": 3000.0', '"floor_tok_s": 2000.0'))

    wrong = sins(load(path))
    assert any("edited by hand" in text for text in wrong)
    assert any("the floor is 2000" in text for text in wrong)


def test_a_hand_edit_with_a_forged_digest_is_found(tmp_path):
    """The limits must follow from the runs, whatever the digest says."""
    baseline = a_baseline(fast_runs())
    forged = replace(baseline.cells[NAME], floor_tok_s=2000.0)
    wrong = sins(stored(tmp_path, replace(baseline, cells={NAME: forged})))

    assert wrong == [f"{NAME}: the floor is 2000.0, but claim, runs and entries give 3000.0"]


def test_a_forged_ratchet_is_found(tmp_path):
    """A ratchet must be what its own sessions confirm."""
    raised = accepted(a_baseline(fast_runs()))
    forged = replace(raised.ratchets[0], floor_tok_s=3100.0)
    cell = replace(raised.cells[NAME], floor_tok_s=3100.0)
    wrong = sins(stored(tmp_path, replace(raised, ratchets=(forged,), cells={NAME: cell})))

    assert any("its sessions confirm" in text for text in wrong)


def test_missing_renamed_and_empty_cells_are_found(tmp_path):
    """None of them may read as a pass."""
    sound = a_baseline(fast_runs())
    renamed = Baseline(
        schema_version=1,
        hardware="gb10-sim",
        model="llm-7b",
        precision=Precision.FP8,
        cells={"fp8-b192-c161": sound.cells[NAME]},
    )
    hollow = a_cell(None, None, samples=())
    emptied = replace(sound, cells={NAME: hollow})

    wrong = sins(stored(tmp_path, renamed))
    assert any("renamed" in text for text in wrong)
    assert any("has a claim and no cell" in text for text in wrong)
    assert any("empty" in text for text in sins(stored(tmp_path / "e", emptied)))


def test_each_file_is_chained_to_the_one_it_replaced(tmp_path):
    """The digest of the last state stands in the next; saving the same again changes nothing."""
    first = stored(tmp_path, a_baseline(fast_runs()))
    second = stored(tmp_path, accepted(first))

    assert first.previous == ""
    assert second.previous == first.digest
    assert stored(tmp_path, second) == second


def test_a_file_without_a_digest_gets_one(tmp_path):
    """Saving what says the same still seals it."""
    path = save(tmp_path, a_baseline(fast_runs()))
    path.write_text(path.read_text().replace(load(path).digest, ""))

    assert sins(stored(tmp_path, load(path))) == []


def test_thin_and_old_cells_say_so():
    """Ten sessions, the newest within thirty days, or a reason why not."""
    many = a_cell(samples=tuple(fast_runs(12)))

    assert thin(many, TODAY) == ""
    assert "9 of 10 sessions" in thin(a_cell(samples=tuple(fast_runs(9))), TODAY)
    assert "days old" in thin(many, date(2026, 3, 1))
