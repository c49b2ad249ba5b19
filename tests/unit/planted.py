"""A suite in a temporary folder whose rig measures nothing: it returns what a test planted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from perfgate import baselines, codec
from perfgate.errors import ServerError
from perfgate.model import Measurement
from perfgate.suite import load_suite
from tests.unit.factories import a_fingerprint, a_measurement

ROOT = Path(__file__).parents[2]
PLANTED = "planted.json"

CONFTEST = """
import pytest
from tests.unit.planted import PlantedRig

pytest_plugins = [
    "perfgate.plugin", "fixtures.environment", "fixtures.engines", "fixtures.measurements"
]

@pytest.fixture(scope="session")
def rig(setting):
    return PlantedRig(setting.suite.root)
"""

TESTS = """
import pytest

@pytest.mark.perf
@pytest.mark.parametrize("point", {points}, indirect=True)
def test_floor(judgement, require):
    require(judgement, "floor")
"""


class PlantedRig:
    """Returns the planted measurements; a point without one finds its server dead."""

    def __init__(self, root):
        stored = codec.from_json(
            (root / PLANTED).read_bytes(), dict[str, Measurement], origin=PLANTED
        )
        self._planted = stored
        self._measured = set()

    def is_measured(self, point):
        """Whether the point was asked for before."""
        return point.id in self._measured

    def measure(self, point, *, time_rounds=None):
        """Return what was planted, its rounds timed on the first call."""
        if point.id not in self._planted:
            raise ServerError("Triton exited with status 139; its log ends: Segmentation fault")
        if time_rounds and point.id not in self._measured:
            time_rounds(lambda: None, point.sampling.rounds)
        self._measured.add(point.id)
        return self._planted[point.id]


def plant_suite(folder, *measurements, cells=True, tests=None):
    """Lay out a suite that measures what is given, with floors and ceilings where `cells`."""
    for name in ("points.toml", "policy.toml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "hardware", folder / "hardware")
    planted = {one.point.id: one for one in measurements}
    (folder / PLANTED).write_bytes(codec.to_json(planted))
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    perf: x\n    sweep: x\naddopts = -p no:cacheprovider\n"
    )
    points = [*planted, *(["fp8-b64-c64"] if not planted else [])]
    (folder / "test_planted.py").write_text(tests or TESTS.format(points=points))
    if cells:
        suite = load_suite(folder)
        baselines.record_into(
            folder / "baselines",
            "gb10-sim",
            suite.points,
            policy=suite.policy,
            session="",
            commit="",
        )
    return folder


def planted_measurement(root, point_id, **numbers):
    """A measurement of one of the suite's own points."""
    point = load_suite(root).point(point_id)
    return replace(
        a_measurement(point, **numbers), fingerprint=a_fingerprint("gb10-sim"), records=""
    )
