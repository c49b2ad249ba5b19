"""Where a run happens: the suite, the target, the hardware and the folders, settled once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from perfgate.artifacts import RECORDS
from perfgate.engines.layout import CPU
from perfgate.errors import UsageError
from perfgate.hardware import HardwareProfile, load_profile
from perfgate.model import SIMULATED_SUFFIX, EngineSpec, Server, Target
from perfgate.serving.remote import named_hardware, parse_url
from perfgate.suite import Suite, find_root, load_suite
from perfgate.targets import HARDWARE_TARGETS, choose, look
from perfgate.trtllm import CONFIG_FILE, MODELS, TrtllmConfig, load_trtllm, runs_in_container

BASELINES = "baselines"
HARDWARE = "hardware"
CACHE = ".perfgate"
ENGINES = "engines"
DEFAULT_HARDWARE = "gb10"
# What stands behind a number, where it is not TensorRT-LLM on the hardware that is named.
_SUFFIXES = {Target.SIM: SIMULATED_SUFFIX, Target.REFERENCE: "-reference"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run needs to know of its surroundings before it builds or boots anything.

    `trtllm` is what hardware targets are made of, and where a remote server's tokenizer lies;
    `remote` is where that server answers. `local` is the folder of what version control does not
    hold, checkpoints and built engines, where that is not the suite's own. `sources` is the source
    tree of another perfgate, by which servers are set up instead of by this one.
    """

    suite: Suite
    target: Target
    profile: HardwareProfile
    artifacts: Path
    trtllm: TrtllmConfig | None = None
    remote: Server | None = None
    local: Path | None = None
    sources: Path | None = None

    @property
    def records(self) -> Path:
        """Where the requests of each point are kept."""
        return self.artifacts / RECORDS

    @property
    def cache(self) -> Path:
        """Where built engines are kept from run to run, by all they depend on."""
        return self.home / CACHE

    @property
    def home(self) -> Path:
        """The folder of what version control does not hold."""
        return self.local or self.suite.root

    def model_folder(self, spec: EngineSpec) -> Path | None:
        """Where the model's own checkpoint lies, if trtllm.toml names it."""
        if self.trtllm is None or spec.model not in self.trtllm.models:
            return None
        return self.home / MODELS / self.trtllm.source(spec).checkpoint

    @property
    def hardware(self) -> str:
        """The name baselines are kept under: each kind of engine has one of its own."""
        return self.profile.name + _SUFFIXES.get(self.target, "")


def settle(
    folder: Path, *, target: str, url: str | None, require_hardware: bool, artifacts: Path
) -> Setting:
    """Read the suite around `folder` and choose the target.

    Raises UsageError for a file or option that breaks a rule, MissingRequirementError for a target
    that cannot run here.
    """
    suite = load_suite(find_root(folder))
    config = load_trtllm(suite.root) if (suite.root / CONFIG_FILE).is_file() else None
    machine = look()
    chosen = choose(
        target,
        machine,
        url=url,
        require_hardware=require_hardware,
        in_container=runs_in_container(suite.root),
    )
    if chosen in HARDWARE_TARGETS and config is None:
        config = load_trtllm(suite.root)  # says that it is missing, and where
    profiles = suite.root / HARDWARE
    reference = chosen is Target.REFERENCE
    named = named_hardware(url) if url is not None else None
    profile = _profile_of(machine.gpu, profiles) if reference else _profile_named(named, profiles)
    setting = Setting(
        suite=suite,
        target=chosen,
        trtllm=None if chosen in _SUFFIXES else config,
        remote=parse_url(url) if url is not None else None,
        profile=profile,
        artifacts=artifacts,
    )
    return replace(setting, suite=suite.on(setting.hardware))


def profile_of(hardware: str, profiles: Path) -> HardwareProfile:
    """The profile behind a name that baselines are kept under."""
    for suffix in _SUFFIXES.values():
        hardware = hardware.removesuffix(suffix)
    return load_profile(profiles / f"{hardware}.toml")


def _profile_named(name: str | None, profiles: Path) -> HardwareProfile:
    known = {path.stem: path for path in sorted(profiles.glob("*.toml"))}
    if name is not None and name not in known:
        rule = f"it must be a profile in {profiles}: {', '.join(known)}"
        raise UsageError("--triton-url ?hardware", name, rule)
    return load_profile(profiles / f"{name or DEFAULT_HARDWARE}.toml")


def _profile_of(gpu: str | None, profiles: Path) -> HardwareProfile:
    """The profile of the device that the reference engine computes on."""
    if gpu is None:
        return load_profile(profiles / f"{CPU}.toml")
    known = [load_profile(path) for path in sorted(profiles.glob("*.toml"))]
    for profile in known:
        if f": {profile.title} (" in gpu:
            return profile
    titles = ", ".join(profile.title for profile in known)
    rule = f"a profile in {profiles} must have its name as title (there are {titles})"
    raise UsageError("GPU", gpu, rule)
