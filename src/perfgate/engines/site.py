"""What the hardware targets build from and run on, and what an engine remembers of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perfgate import codec
from perfgate.engines.cache import digest
from perfgate.errors import BuildError, MissingRequirementError
from perfgate.gpus import Gpu
from perfgate.model import EngineSpec
from perfgate.trtllm import MODELS, Runner, TrtllmConfig

ORIGIN_FILE = "perfgate.json"
TOKENIZER = "tokenizer.json"
_SMALL = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The configuration under review, the folder of checkpoints, and the GPU."""

    config: TrtllmConfig
    models: Path
    gpu: Gpu

    @classmethod
    def at(cls, root: Path, config: TrtllmConfig, gpu: Gpu) -> Site:
        """The site of the suite in `root`."""
        return cls(config=config, models=root / MODELS, gpu=gpu)

    def checkpoint(self, spec: EngineSpec) -> Path:
        """The Hugging Face folder that engines of this model are built from, links resolved."""
        return (self.models / self.config.source(spec).checkpoint).resolve()

    def fp8_checkpoint(self, spec: EngineSpec) -> Path | None:
        """The ModelOpt folder of the model, if the configuration names one."""
        name = self.config.source(spec).fp8_checkpoint
        return (self.models / name).resolve() if name else None

    def dataset(self) -> Path:
        """The data set that FP8 scales are calibrated on, by the name it has here.

        `quantize.py` reads a path that says cnn_dailymail in another way than any other: a link
        must not lose its name.
        """
        path = self.models / self.config.calibration.dataset
        return path.parent.resolve() / path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an engine comes from: kept beside it, read by whoever serves it.

    `checkpoint` is the Hugging Face folder, which holds the tokenizer as well.
    """

    checkpoint: Path
    tensorrt_llm: str
    tritonserver: str
    container: str
    runner: Runner
    shm_size: str
    gpu: str
    compute_capability: str
    environment: dict[str, str] = field(default_factory=dict)


def origin(site: Site, checkpoint: Path) -> Origin:
    """What to remember of an engine built at `site` from `checkpoint`."""
    config = site.config
    return Origin(
        checkpoint=checkpoint,
        tensorrt_llm=config.tensorrt_llm,
        tritonserver=config.tritonserver,
        container=config.container,
        runner=config.runner,
        shm_size=config.shm_size,
        gpu=site.gpu.name,
        compute_capability=site.gpu.compute_capability,
        environment=config.environment,
    )


def write_origin(directory: Path, value: Origin) -> None:
    """Write it beside the engine."""
    codec.write_atomic(directory / ORIGIN_FILE, codec.to_pretty_json(value))


def keep_origin(directory: Path, value: Origin) -> None:
    """Write it again if the suite has moved or is run otherwise since the engine was built."""
    if not (directory / ORIGIN_FILE).is_file() or read_origin(directory) != value:
        write_origin(directory, value)


def read_origin(directory: Path) -> Origin:
    """Read what `write_origin` wrote; BuildError if the engine has none."""
    path = directory / ORIGIN_FILE
    if not path.is_file():
        msg = f"{directory} has no {ORIGIN_FILE}: it was not built by perfgate. Remove it."
        raise BuildError(msg)
    return codec.from_json(path.read_bytes(), Origin, origin=str(path))


def require_folder(path: Path, what: str, cure: str) -> Path:
    """The folder; MissingRequirementError that says what it is and how to get it otherwise."""
    if not path.is_dir():
        msg = f"{what} {path} is not there. {cure}"
        raise MissingRequirementError(msg)
    return path


def folder_digest(folder: Path) -> str:
    """Name the contents of a folder: every file's name and size, and the text of small ones.

    Weights are gigabytes; their index, configuration and sizes tell two checkpoints apart.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(
        files={
            path.relative_to(folder).as_posix(): (
                path.stat().st_size,
                path.read_bytes().hex() if path.stat().st_size <= _SMALL else "",
            )
            for path in files
            if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        }
    )
