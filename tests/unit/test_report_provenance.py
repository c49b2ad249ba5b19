"""What points share and what they do not."""

import dataclasses

import pytest

from perfgate.report.provenance import own_entries, shared_entries
from tests.unit.report_measurements import FINGERPRINT

pytestmark = pytest.mark.unit

ONE = dataclasses.replace(FINGERPRINT, identity={"triton": "2.51.0", "engine": "aa"})
OTHER = dataclasses.replace(FINGERPRINT, identity={"triton": "2.51.0", "engine": "bb"})
BARE = dataclasses.replace(FINGERPRINT, identity={"triton": "2.51.0"})


def test_what_every_point_has_is_said_once():
    """Equal entries are shared, differing ones are not."""
    shared = dict(shared_entries({"p": ONE, "q": OTHER}))

    assert shared == {"triton": "2.51.0", **FINGERPRINT.context}


def test_what_differs_is_said_by_point():
    """A differing entry has one value a point; one that a point lacks is named as such."""
    names, own = own_entries({"p": ONE, "q": OTHER, "r": BARE})

    assert names == ["engine"]
    assert own == {"p": ("aa",), "q": ("bb",), "r": ("not recorded",)}


def test_no_points_share_nothing():
    """An empty run has no provenance of its own."""
    assert shared_entries({}) == []
