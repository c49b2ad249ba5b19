"""What follows from a sweep, up to the one sentence."""

from dataclasses import replace

import pytest

from perfgate.measure.bands import Band, mean_band
from perfgate.measure.limits import Limit
from perfgate.model import Veto
from perfgate.sweep.result import curve_of, result_of
from tests.unit.sim_samples import gb10
from tests.unit.sweep_samples import Rigs, a_plan, a_sweep, curve

pytestmark = pytest.mark.unit

FIELD = a_plan(concurrencies=(64, 96, 128, 160, 192, 256))


def a_result(plan=FIELD, *, rigs=None, boots=1):
    """The result of a made-up sweep."""
    return result_of(a_sweep(rigs or Rigs(), plan, boots=boots), gb10())


def test_the_sentence_says_range_throughput_ceiling_and_why_it_ends():
    """All that an operator asks for."""
    result = a_result()

    assert result.operating_range.low == result.knee == 128
    assert result.operating_range.limit is Limit.BANDWIDTH
    assert result.sentence.startswith("Concurrency 128-160: 2689 to 3030 tok/s with P95 under 7 s;")
    assert "it ends there because at 192 P95 is 7.50 s: nothing waits" in result.sentence


def test_a_range_that_a_full_batch_ends_says_so():
    """One engine with a small batch, under a ceiling that only queueing breaks."""
    plan = a_plan(max_batch_size=192, ceiling_p95_s=8.0, concurrencies=(64, 128, 160, 192, 256))
    sweep = a_sweep(Rigs(), plan)
    sweep = replace(
        sweep, point=replace(sweep.point, claim=replace(sweep.point.claim, ceiling_p95_s=8.0))
    )
    result = result_of(sweep, gb10())

    assert (result.operating_range.low, result.operating_range.high) == (128, 192)
    assert result.operating_range.limit is Limit.BATCH_FULL
    assert "192 run and 64 wait" in result.sentence


def test_without_a_ceiling_no_range_is_made_up():
    """The knee is told, and what is missing."""
    sweep = a_sweep(Rigs(), FIELD)
    result = result_of(replace(sweep, point=replace(sweep.point, claim=None)), gb10())

    assert result.operating_range is None
    assert "the knee is at 128, but no P95 ceiling is claimed" in result.sentence


@pytest.mark.parametrize(
    ("concurrencies", "words"),
    [
        ((8, 16), "sweep more"),
        ((8, 64, 128), "sweep further"),
        ((192, 256, 384), "sweep lower"),
    ],
)
def test_without_a_knee_the_sentence_says_what_to_sweep(concurrencies, words):
    """Too few points, or all on one side of the knee."""
    result = a_result(a_plan(concurrencies=concurrencies))

    assert result.knee is None
    assert words in result.sentence


def test_vetoed_points_are_in_no_number():
    """A disturbed measurement moves neither curve nor knee."""
    veto = (Veto(rule="client-cpu", message="slow"),)
    result = a_result(rigs=Rigs(vetoed={160: veto}))

    assert [row.concurrency for row in result.rows] == [64, 96, 128, 192, 256]


def test_nothing_sound_has_no_result():
    """Not a curve of zeros."""
    veto = (Veto(rule="client-cpu", message="slow"),)

    assert a_result(rigs=Rigs(vetoed=dict.fromkeys(FIELD.concurrencies, veto))) is None


def test_bands_of_one_boot_say_that_they_are_of_one_boot():
    """A band over rounds is no promise about the next server start."""
    assert "inside one boot" in a_result().bands


def test_bands_of_more_boots_are_over_boots():
    """With three boots the scatter is theirs, and the value their mean."""
    speeds = iter([3000.0, 3030.0, 3060.0])

    def of(concurrency):
        throughput, latency = curve(concurrency)
        return (next(speeds), latency) if concurrency == 160 else (throughput, latency)

    result = a_result(rigs=Rigs(of=of), boots=3)
    (row,) = [row for row in result.rows if row.concurrency == 160]

    assert row.throughput_tok_s == 3030
    assert row.throughput_band == mean_band([3000, 3030, 3060])
    assert row.latency_p95_band is not None
    assert row.boots == 3
    assert "3 boots" in result.bands


def test_the_drawn_curve_has_bands_knee_range_and_roofline():
    """The picture shows what the table says."""
    sweep = a_sweep(Rigs(), FIELD)
    result = result_of(sweep, gb10())
    rows = [replace(row, latency_p95_band=Band(6.0, 7.0)) for row in result.rows]
    drawn = curve_of(sweep.point, rows, gb10())

    assert drawn.knee == 128
    assert drawn.operating_range == (128, 160)
    assert len(drawn.roofline) == len(drawn.points) == 6
    assert drawn.points[0].p95_band == Band(6.0, 7.0)
