"""Where a run happens: the suite, the target, the hardware and the folders, settled once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfgate.artifacts import RECORDS
from perfgate.baselines import SIMULATED_SUFFIX
from perfgate.hardware import HardwareProfile, load_profile
from perfgate.model import Target
from perfgate.suite import Suite, find_root, load_suite
from perfgate.targets import choose, look

BASELINES = "baselines"
HARDWARE = "hardware"
CACHE = ".perfgate"
ENGINES = "engines"
DEFAULT_HARDWARE = "gb10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run needs to know of its surroundings before it builds or boots anything."""

    suite: Suite
    target: Target
    profile: HardwareProfile
    artifacts: Path

    @property
    def records(self) -> Path:
        """Where the requests of each point are kept."""
        return self.artifacts / RECORDS

    @property
    def cache(self) -> Path:
        """Where built engines are kept from run to run."""
        return self.suite.root / CACHE

    @property
    def hardware(self) -> str:
        """The name baselines are kept under: simulated hardware has one of its own."""
        simulated = self.target is Target.SIM
        return self.profile.name + (SIMULATED_SUFFIX if simulated else "")


def settle(
    folder: Path, *, target: str, url: str | None, require_hardware: bool, artifacts: Path
) -> Setting:
    """Read the suite around `folder` and choose the target.

    Raises UsageError for a file or option that breaks a rule, MissingRequirementError for a target
    that cannot run here.
    """
    suite = load_suite(find_root(folder))
    return Setting(
        suite=suite,
        target=choose(target, look(), url=url, require_hardware=require_hardware),
        profile=load_profile(suite.root / HARDWARE / f"{DEFAULT_HARDWARE}.toml"),
        artifacts=artifacts,
    )
