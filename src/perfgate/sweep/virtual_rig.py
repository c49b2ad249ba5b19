"""A rig without a server: the simulated engine in virtual time, for a look in seconds."""

from __future__ import annotations

import hashlib

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.model import Fingerprint, Measurement, OperatingPoint
from perfgate.provenance import versions, wall_clock
from perfgate.recorded import measure_recorded
from perfgate.rig import Observer
from perfgate.setting import Setting
from perfgate.sim.virtual_load import virtual_fingerprint, virtual_load


class VirtualRig:
    """Measures points in virtual time; `seconds` is how much of it has gone by.

    Raises UsageError for hardware that is not simulated.
    """

    def __init__(self, setting: Setting, observer: Observer) -> None:
        if setting.profile.simulation is None:
            rule = "its profile has no [simulation] table"
            raise UsageError("hardware", setting.profile.name, rule)
        self._setting = setting
        self._observer = observer
        self.seconds = 0.0

    def measure(self, point: OperatingPoint) -> Measurement:
        """Measure a point and keep its records."""
        self._observer.begin(f"simulate {point.id}")
        run = virtual_load(
            point, self._setting.profile, self.fingerprint(point), started_at=wall_clock()
        )
        self.seconds += run.marks_ns[-1] / 1e9
        found = measure_recorded(run, self._setting.suite.policy, self._setting.records)
        self._observer.end()
        return found

    def fingerprint(self, point: OperatingPoint) -> Fingerprint:
        """What names this simulation: the profile, to its last parameter."""
        digest = hashlib.sha256(codec.to_json(self._setting.profile)).hexdigest()[:12]
        return virtual_fingerprint(
            point, self._setting.profile, digest, version=versions()["perfgate"]
        )
