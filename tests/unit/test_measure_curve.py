"""The throughput/latency curve and its knee."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import NoSamplesError
from perfgate.measure.curve import CurvePoint, find_knee

pytestmark = pytest.mark.unit

SWEEP = (1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 256)


def saturating(concurrencies=SWEEP, *, fixed_s=0.0268, each_s=0.0001625, batch=192, osl=128):
    """An engine whose step is fixed + each x batch, with a queue beyond its largest batch."""
    points = []
    for concurrency in concurrencies:
        running = min(concurrency, batch)
        throughput = running / (fixed_s + each_s * running)
        points.append(
            CurvePoint(
                concurrency=concurrency,
                throughput_tok_s=throughput,
                latency_s=concurrency * osl / throughput,
            )
        )
    return points


def test_the_knee_of_the_field_reports_engine_is_in_its_best_range():
    """An engine with the field report's step times has its knee in 128..160."""
    curve = find_knee(saturating())

    assert curve.knee is not None
    assert 128 <= curve.knee.concurrency <= 160
    assert str(curve.knee.concurrency) in curve.reason


@pytest.mark.parametrize("last", [224, 256, 384, 1024])
def test_the_knee_does_not_depend_on_where_the_sweep_ends(last):
    """Overload measured beyond the knee says nothing about it."""
    further = find_knee(saturating((*SWEEP[:11], last)))

    assert further.knee == find_knee(saturating()).knee


def test_of_equal_powers_the_lowest_concurrency_is_the_knee():
    """A flat top has the knee where latency is shortest, however noise orders it."""
    flat = [
        CurvePoint(concurrency=c, throughput_tok_s=t, latency_s=s)
        for c, t, s in ((8, 100, 2.0), (16, 198, 2.0), (24, 298, 2.98), (32, 300, 4.0))
    ]

    assert find_knee(flat).knee == flat[1]


def test_a_sweep_that_ends_before_the_knee_has_none():
    """Where power still rises at the last concurrency, the reason says to sweep further."""
    curve = find_knee(saturating(SWEEP[:9]))

    assert curve.knee is None
    assert "sweep further" in curve.reason


def test_a_sweep_that_begins_beyond_the_knee_has_none():
    """Where power only falls, the reason says to sweep lower."""
    curve = find_knee(saturating((256, 320, 384)))

    assert curve.knee is None
    assert "sweep lower" in curve.reason


def test_a_free_lunch_has_no_knee():
    """Where latency never rises there is nothing to trade: more is better up to the last."""
    free = [replace(point, latency_s=1.0) for point in saturating(SWEEP[:11])]

    assert "sweep further" in find_knee(free).reason


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_points_make_no_curve(count):
    """Under three points there is no curve, and no zero instead."""
    with pytest.raises(NoSamplesError, match="sweep more"):
        find_knee(saturating(SWEEP[:count]))


@given(st.permutations(saturating()))
def test_the_order_of_points_is_irrelevant(points):
    """The same points in any order have the same curve."""
    assert find_knee(points) == find_knee(saturating())


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_are_irrelevant(tokens, seconds):
    """Scaling either axis does not move the knee."""
    scaled = [
        CurvePoint(
            concurrency=point.concurrency,
            throughput_tok_s=point.throughput_tok_s * tokens,
            latency_s=point.latency_s * seconds,
        )
        for point in saturating(fixed_s=0.02)
    ]
    knee, expected = find_knee(scaled).knee, find_knee(saturating(fixed_s=0.02)).knee

    assert knee is not None
    assert expected is not None
    assert knee.concurrency == expected.concurrency
