"""The sweep's loop: nothing measured is lost, nothing is left running."""

import pytest

from perfgate.errors import LoadError, UsageError
from perfgate.model import Veto
from perfgate.sweep.run import run_sweep
from tests.unit.sweep_samples import Rigs, a_plan, a_sweep

pytestmark = pytest.mark.unit

LIST = a_plan(concurrencies=(8, 128, 160, 192))
BUSY = (Veto(rule="client-cpu", message="the load client was slow"),)


def taken(sweep):
    """What a sweep holds, in order."""
    return [one.measurement.point.id for one in sweep.taken]


def test_each_point_is_stored_before_the_next_is_measured():
    """After every measurement there is one more on disk."""
    rigs = Rigs()
    a_sweep(rigs, LIST)

    assert [len(one.taken) for one in rigs.stored] == [1, 2, 3, 4, 4]
    assert rigs.stored[-1].ended
    assert not rigs.stored[-2].ended


def test_one_server_serves_the_whole_sweep():
    """A boot is paid for once, and the server is stopped at the end."""
    rigs = Rigs()
    a_sweep(rigs)

    assert rigs.boots == [1]
    assert rigs.open == 0


def test_an_interrupted_sweep_keeps_what_it_has_and_goes_on():
    """Ctrl-C stops the server; the same command measures only what is left."""
    first = Rigs(interrupt_at=160)
    with pytest.raises(KeyboardInterrupt):
        a_sweep(first, LIST)
    later = Rigs()
    finished = a_sweep(later, LIST, earlier=first.stored[-1])

    assert first.open == 0
    assert first.measured == ["fp8-b192-c8", "fp8-b192-c128"]
    assert later.measured == ["fp8-b192-c160", "fp8-b192-c192"]
    assert taken(finished) == first.measured + later.measured


def test_a_finished_sweep_boots_nothing():
    """Running it again costs nothing."""
    done = a_sweep(Rigs(), LIST)
    again = Rigs()

    assert taken(a_sweep(again, LIST, earlier=done)) == taken(done)
    assert not again.boots


def test_what_was_vetoed_is_measured_again_under_another_name():
    """A vetoed point is no result: it is left alone now, tried again later, and both are kept."""
    disturbed = Rigs(vetoed={128: BUSY})
    first = a_sweep(disturbed, LIST)
    later = Rigs()
    second = a_sweep(later, LIST, earlier=first)

    assert disturbed.measured.count("fp8-b192-c128") == 1
    assert later.measured == ["fp8-b192-c128-again1"]
    assert {"fp8-b192-c128", "fp8-b192-c128-again1"} <= set(taken(second))
    assert [one.concurrency for one in second.sound] == [8, 160, 192, 128]


def test_a_concurrency_that_breaks_the_load_is_told_and_left_out():
    """The others are measured all the same; a later run tries it again."""
    first = a_sweep(Rigs(broken={192}), LIST)
    second = a_sweep(Rigs(), LIST, earlier=first)

    assert taken(first) == ["fp8-b192-c8", "fp8-b192-c128", "fp8-b192-c160"]
    assert [(one.concurrency, one.reason) for one in first.failed] == [
        (192, "every stream was reset")
    ]
    assert taken(second)[-1] == "fp8-b192-c192"
    assert not second.failed


def test_a_server_that_never_works_is_an_error():
    """Where the first point fails, so will the others: minutes each."""
    rigs = Rigs(broken={8, 128, 160, 192})
    with pytest.raises(LoadError, match="every stream was reset"):
        a_sweep(rigs, LIST)

    assert rigs.measured == ["fp8-b192-c8"]


def test_more_boots_repeat_what_the_first_chose():
    """Each boot is a fresh server and measures the same concurrencies."""
    rigs = Rigs()
    sweep = a_sweep(rigs, LIST, boots=3)

    assert rigs.boots == [1, 2, 3]
    assert [one.boot for one in sweep.taken] == [1] * 4 + [2] * 4 + [3] * 4
    assert taken(sweep)[-1] == "fp8-b192-c192-boot3"


def test_another_server_is_refused_after_its_first_point():
    """What only a running server shows is held against the sweep that was begun."""
    done = a_sweep(Rigs(), LIST)
    rigs = Rigs()

    def refuse(*_):
        raise UsageError("--output", "sweep", "another driver")

    plan, means = a_plan(concurrencies=(8, 64)), rigs.means(check=refuse)
    with pytest.raises(UsageError, match="another driver"):
        run_sweep(done, plan, means, boots=1)
    assert not rigs.stored
    assert rigs.open == 0


def test_time_left_is_the_grid_and_the_budget():
    """What is announced before a point: the point, the rest of the grid, then refining."""
    rigs = Rigs()
    a_sweep(rigs)
    names = [step.name for step in rigs.ahead[0]]

    assert names[:2] == ["measure fp8-b192-c1", "measure fp8-b192-c2"]
    assert names[-2:] == ["measure fp8-b192-c256", "refine"]
    assert sum(step.expected_s for step in rigs.ahead[0]) == pytest.approx(600, abs=1)
