"""A rig whose load another tool drives: engine and server are ours, the client is not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

from perfgate.model import Fingerprint, Measurement, OperatingPoint, Sampling
from perfgate.peers.drive import Driver, drive_with
from perfgate.provenance import wall_clock
from perfgate.recorded import measure_recorded
from perfgate.rig import Observer, Rig
from perfgate.setting import Setting

FOLDER = "driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Which tool sends the load, and what it draws its prompts with."""

    driver: Driver
    tokenizer: str

    def named(self, fingerprint: Fingerprint) -> Fingerprint:
        """The fingerprint of what this tool measured: never compared with our own client's."""
        return replace(fingerprint, identity={**fingerprint.identity, "driver": str(self.driver)})


class DrivenRig:
    """Measures points on the servers of `rig` with another tool's load.

    The tool's files stay below `driver/` of the artefacts. It tells of no rounds, so that each
    measurement is one round. Raises what `drive_with` and the rig raise.
    """

    def __init__(self, rig: Rig, setting: Setting, observer: Observer, drive: Drive) -> None:
        self._rig = rig
        self._setting = setting
        self._observer = observer
        self._drive = drive

    def measure(self, point: OperatingPoint) -> Measurement:
        """Measure a point and keep its records."""
        sampling = point.sampling
        whole = Sampling(rounds=1, round_requests=sampling.rounds * sampling.round_requests)
        point = replace(point, sampling=replace(whole, ramp=sampling.ramp))
        server = self._rig.server(point)
        folder = self._setting.artifacts / FOLDER / point.id
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        self._observer.begin(f"{self._drive.driver} drives {point.id}")
        run = drive_with(
            self._drive.driver,
            server,
            point,
            tokenizer=self._drive.tokenizer,
            folder=folder,
            hardware=self._setting.hardware,
            started_at=wall_clock(),
        )
        run = replace(run, fingerprint=self._drive.named(self._rig.fingerprint(point)))
        found = measure_recorded(run, self._setting.suite.policy, self._setting.records)
        self._observer.end()
        return found
