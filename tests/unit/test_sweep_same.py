"""A folder's sweep is gone on with only if it is of the same thing."""

from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.sweep.same import refuse_other
from tests.unit.sweep_samples import Rigs, a_plan, a_sweep

pytestmark = pytest.mark.unit

SWEEP = a_sweep(Rigs(), a_plan(concurrencies=(8, 64, 160)))
SEEN = replace(
    SWEEP.taken[0].measurement.fingerprint,
    identity={"hardware": "gb10-sim", "concurrency": "8", "isl": "128", "driver": "580.1"},
    context={"engine": "abc", "version.perfgate": "0.1.0"},
)
BEGUN = replace(
    SWEEP,
    taken=(
        replace(SWEEP.taken[0], measurement=replace(SWEEP.taken[0].measurement, fingerprint=SEEN)),
    ),
)


def refusal(point=SWEEP.point, fingerprint=SEEN):
    """What the user is told."""
    with pytest.raises(UsageError) as told:
        refuse_other(BEGUN, point, fingerprint, folder="sweep")
    return str(told.value)


def test_another_concurrency_is_the_same_sweep():
    """That is what a sweep varies."""
    at_64 = replace(SEEN, identity=SEEN.identity | {"concurrency": "64"})
    point = replace(SWEEP.point, workload=replace(SWEEP.point.workload, concurrency=64))

    refuse_other(BEGUN, point, at_64, folder="sweep")


def test_what_is_not_known_yet_is_not_held_against_it():
    """Before a server runs the driver is unknown."""
    early = replace(SEEN, identity={"hardware": "gb10-sim"})

    refuse_other(BEGUN, SWEEP.point, early, folder="sweep")


def test_every_field_that_differs_is_named_with_both_values():
    """Driver, software and load: field by field."""
    other = replace(
        SEEN,
        identity=SEEN.identity | {"driver": "590.2"},
        context=SEEN.context | {"engine": "def"},
    )
    longer = replace(SWEEP.point, workload=replace(SWEEP.point.workload, osl=256))
    told = refusal(longer, other)

    assert "workload.osl is 128 there, 256 here" in told
    assert "driver is 580.1 there, 590.2 here" in told
    assert "engine is abc there, def here" in told
    assert "Name a new folder" in told


def test_virtual_and_real_time_are_not_mixed():
    """A curve of both would be neither's."""
    virtual = replace(SEEN, identity=SEEN.identity | {"clock": "virtual"})

    assert "clock is real there, virtual here" in refusal(fingerprint=virtual)


def test_another_ceiling_is_another_sweep():
    """Points were chosen by it."""
    claim = replace(SWEEP.point.claim, ceiling_p95_s=5.0)

    assert "P95 ceiling is 7.0 there, 5.0 here" in refusal(replace(SWEEP.point, claim=claim))
