"""trtllm.toml: from which checkpoints, with which versions and in which container engines are made.

A file under review, like points.toml: versions and container are pinned there, never looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from perfgate import codec
from perfgate.engines.flags import parse_version, tables
from perfgate.errors import UsageError
from perfgate.model import EngineSpec

CONFIG_FILE = "trtllm.toml"
MODELS = "models"


class Runner(StrEnum):
    """Whether tools and server run here or in the pinned container."""

    LOCAL = "local"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where one model comes from: folders under `models/`, and whose conversion script fits it."""

    checkpoint: str
    fp8_checkpoint: str | None = None
    family: str = "llama"

    def __post_init__(self) -> None:
        """Refuse a path that leaves its folder."""
        _require_inside("checkpoint", self.checkpoint)
        if self.fp8_checkpoint is not None:
            _require_inside("fp8_checkpoint", self.fp8_checkpoint)
        if not re.fullmatch(r"[a-z0-9_]+", self.family):
            raise UsageError("family", self.family, "use a-z, 0-9 and '_': it names a folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What FP8 scales are calibrated on: a data set under `models/`, and how much of it."""

    dataset: str
    samples: int = 512
    seed: int = 1234

    def __post_init__(self) -> None:
        """Refuse a path that leaves its folder, and a calibration on nothing."""
        _require_inside("dataset", self.dataset)
        if self.samples < 1:
            raise UsageError("samples", self.samples, "it must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtllmConfig:
    """The whole file."""

    tensorrt_llm: str
    tritonserver: str
    container: str
    models: dict[str, ModelSource]
    calibration: Calibration
    runner: Runner = Runner.LOCAL
    shm_size: str = "2g"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what pins nothing, and a container that holds another TensorRT-LLM."""
        parse_version(self.tensorrt_llm)
        parse_version(self.tritonserver)
        _require_pinned(self.container)
        held = container_versions(self.container)
        for name, pinned in (
            ("tensorrt-llm", self.tensorrt_llm),
            ("tritonserver", self.tritonserver),
        ):
            if held.get(name, pinned) != pinned:
                rule = f"{self.container} holds {held[name]}"
                raise UsageError(name.replace("-", "_"), pinned, rule)

    def source(self, spec: EngineSpec) -> ModelSource:
        """The model's source; UsageError listing the known ones if there is none."""
        if spec.model not in self.models:
            known = ", ".join(self.models) or "none"
            rule = f"{CONFIG_FILE} has no [models.{spec.model}] (it has {known})"
            raise UsageError("model", spec.model, rule)
        return self.models[spec.model]


def load_trtllm(root: Path) -> TrtllmConfig:
    """Read the file; UsageError naming file, field, value and rule."""
    return codec.from_toml(root / CONFIG_FILE, TrtllmConfig)


def runs_in_container(folder: Path) -> bool:
    """Whether the suite in `folder` runs tools and server in the pinned container."""
    path = folder / CONFIG_FILE
    return path.is_file() and load_trtllm(folder).runner is Runner.DOCKER


def container_versions(image: str) -> dict[str, str]:
    """What the compatibility table says of a Triton container; nothing for one it does not list."""
    found = re.search(r":(\d\d\.\d\d)-trtllm-python-py3", image)
    if found is None or found[1] not in tables().containers:
        return {}
    return {"tritonserver": found[1], **tables().containers[found[1]]}


def _require_inside(name: str, value: str) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(name, value, f"it must be a folder under {MODELS}/, without '..'")


def _require_pinned(image: str) -> None:
    _, _, tag = image.rpartition("/")[2].partition(":")
    if "@sha256:" not in image and (not tag or tag == "latest"):
        raise UsageError("container", image, "pin it by a tag other than latest, or by digest")
