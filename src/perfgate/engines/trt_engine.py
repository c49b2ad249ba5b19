"""The target trt-engine: checkpoint -> TensorRT-LLM checkpoint -> engine, each cached by digest."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from perfgate.engines import commands
from perfgate.engines.cache import cached, digest
from perfgate.engines.commands import Command, Toolbox, Workshop, container_tools
from perfgate.engines.containers import Container, contained, removal
from perfgate.engines.inspect import check_checkpoint, check_engine, check_version
from perfgate.engines.layout import ENGINE_FILE, read_config
from perfgate.engines.run_tool import run_tool
from perfgate.engines.site import Site, folder_digest, keep_origin, origin, require_folder
from perfgate.errors import BuildError, MissingRequirementError
from perfgate.model import Engine, EngineSpec, Precision, Target
from perfgate.trtllm import Calibration, Runner

# 1: engine directory as trtllm-build writes it, and perfgate.json.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of a checkpoint and an engine: everything that changes them is in their digest."""

    checkpoint: str
    engine: str
    digest: str
    timing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a build reads and writes."""

    source: Path
    dataset: Path
    checkpoint: Path
    engine: Path
    timing_cache: Path


PLACEHOLDERS = Places(
    source=Path("source"),
    dataset=Path("dataset"),
    checkpoint=Path("checkpoint"),
    engine=Path("engine"),
    timing_cache=Path("timing"),
)


def build_trt_engine(spec: EngineSpec, site: Site, cache: Path) -> Engine:
    """Build the engine at `site`, or take it from `cache`; it is checked either way.

    Raises MissingRequirementError for a missing checkpoint, data set or tool, BuildError with the
    log's last lines if a tool fails, or naming what differs if the engine is not what was asked.
    """
    _require_sources(spec, site)
    workshop = local_workshop(site, spec)
    names = engine_names(spec, site, workshop)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "building.lock"):  # builds time kernels: one at a time
        directory = cached(
            cache,
            names.engine,
            lambda unfinished: _build(unfinished, spec, site, workshop, names),
        )
    _check(directory, spec, workshop.version)
    keep_origin(directory, origin(site, site.checkpoint(spec)))
    return Engine(
        spec=spec, target=Target.TRT_ENGINE, directory=directory.resolve(), digest=names.digest
    )


def local_workshop(site: Site, spec: EngineSpec) -> Workshop:
    """The tools as this machine has them, or as the container has them if it runs them."""
    family = site.config.source(spec).family
    docker = site.config.runner is Runner.DOCKER
    tools = container_tools(family) if docker else find_tools(family)
    if docker and shutil.which("docker") is None:
        raise MissingRequirementError("docker: trtllm.toml says that it runs the tools")
    return Workshop(
        version=site.config.tensorrt_llm, tools=tools, environment=site.config.environment
    )


def find_tools(family: str) -> Toolbox:
    """Each tool on PATH, or where NVIDIA's container has it; MissingRequirementError otherwise."""
    usual = container_tools(family)
    if shutil.which(commands.BUILD) is None:
        msg = (
            f"{commands.BUILD} is not here: it comes with TensorRT-LLM up to 1.2.x, later ones"
            " dropped it. Use --target llmapi, or the container named in trtllm.toml"
            ' (runner = "docker").'
        )
        raise MissingRequirementError(msg)
    return Toolbox(
        convert=_script(commands.CONVERT, usual.convert),
        quantize=_script(commands.QUANTIZE, usual.quantize),
        build=usual.build,
    )


def engine_names(spec: EngineSpec, site: Site, workshop: Workshop) -> Names:
    """Name checkpoint and engine by all they depend on: model, flags, versions, container, GPU."""
    made_in = {
        "format": FORMAT_VERSION,
        "tensorrt_llm": site.config.tensorrt_llm,
        "container": site.config.container,
        "gpu": (site.gpu.name, site.gpu.compute_capability),
    }
    folders = [site.checkpoint(spec), *([site.dataset()] if _is_fp8(spec) else [])]
    sources = [folder_digest(folder) for folder in folders]
    # Where things lie does not change what is made of them.
    usual = container_tools(site.config.source(spec).family)
    nameless = replace(workshop, tools=usual, environment={})
    first, last = recipe(spec, site.config.calibration, nameless, PLACEHOLDERS)
    checkpoint = digest(**made_in, sources=sources, words=first.argv)
    engine = digest(checkpoint=checkpoint, words=last.argv, environment=workshop.environment)
    return Names(
        checkpoint=f"{spec.model}-{spec.precision}-{checkpoint}",
        engine=f"{spec.name}-{engine}",
        digest=engine,
        timing=f"timing-{digest(**made_in)}.cache",
    )


def recipe(
    spec: EngineSpec, calibration: Calibration, workshop: Workshop, places: Places
) -> tuple[Command, Command]:
    """The two commands from a Hugging Face folder to an engine."""
    if _is_fp8(spec):
        first = commands.fp8_checkpoint(
            workshop,
            source=places.source,
            output=places.checkpoint,
            dataset=places.dataset,
            calibration=calibration,
        )
    else:
        first = commands.fp16_checkpoint(workshop, source=places.source, output=places.checkpoint)
    last = commands.engine(
        workshop,
        spec,
        checkpoint=places.checkpoint,
        output=places.engine,
        timing_cache=places.timing_cache,
    )
    return first, last


def _build(
    unfinished: Path, spec: EngineSpec, site: Site, workshop: Workshop, names: Names
) -> None:
    cache = unfinished.parent
    logs = cache / "logs"
    places = Places(
        source=site.checkpoint(spec),
        dataset=site.dataset(),
        checkpoint=cache / "checkpoints" / names.checkpoint,
        engine=unfinished,
        timing_cache=cache / names.timing,
    )
    cached(
        places.checkpoint.parent,
        names.checkpoint,
        lambda output: _make_checkpoint(
            spec, site, workshop, replace(places, checkpoint=output), log=logs / names.checkpoint
        ),
    )
    _, command = recipe(spec, site.config.calibration, workshop, places)
    _run(
        command,
        site,
        logs / names.engine,
        writable=(unfinished, cache),
        read_only=(places.checkpoint,),
    )
    _check(unfinished, spec, workshop.version)  # before it has a name that promises it


def _make_checkpoint(
    spec: EngineSpec, site: Site, workshop: Workshop, places: Places, *, log: Path
) -> None:
    command, _ = recipe(spec, site.config.calibration, workshop, places)
    folders = (places.source, *([places.dataset] if _is_fp8(spec) else []))
    _run(command, site, log, writable=(places.checkpoint,), read_only=folders)
    check_checkpoint(read_config(places.checkpoint), spec)


def _run(
    command: Command,
    site: Site,
    log: Path,
    *,
    writable: tuple[Path, ...],
    read_only: tuple[Path, ...],
) -> None:
    """Run the command here or in the container, whichever the site says."""
    log = log.with_name(f"{log.name}.log")
    if site.config.runner is Runner.LOCAL:
        run_tool(command, log)
        return
    name = f"perfgate-{secrets.token_hex(6)}"
    boxed = contained(
        command,
        container(site, writable=writable, read_only=read_only),
        name=name,
        network="none",
    )
    run_tool(boxed, log, cleanup=removal(name))


def container(site: Site, *, writable: tuple[Path, ...], read_only: tuple[Path, ...]) -> Container:
    """The pinned container on the site's GPU, as the user who runs perfgate."""
    return Container(
        image=site.config.container,
        shm_size=site.config.shm_size,
        gpu=str(site.gpu.index),
        user=f"{os.getuid()}:{os.getgid()}",
        read_only=read_only,
        writable=writable,
    )


def _script(name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    if found := shutil.which(name):
        return (found,)
    if Path(usual[-1]).is_file():
        return usual
    msg = f"{name} is neither on PATH nor at {usual[-1]}: it comes with TensorRT-LLM's examples"
    raise MissingRequirementError(msg)


def _require_sources(spec: EngineSpec, site: Site) -> None:
    cure = "Download the model there, or link it."
    require_folder(site.checkpoint(spec), "the checkpoint", cure)
    if _is_fp8(spec):
        cure = "FP8 scales are calibrated on text: download it there, or link it."
        require_folder(site.dataset(), "the calibration data set", cure)


def _check(directory: Path, spec: EngineSpec, version: str) -> None:
    config = read_config(directory)
    check_engine(config, spec)
    check_version(config, version)
    path = directory / ENGINE_FILE
    if not path.is_file() or not path.stat().st_size:
        msg = f"the build ended well, but {directory} holds no {ENGINE_FILE}: build again"
        raise BuildError(msg)


def _is_fp8(spec: EngineSpec) -> bool:
    return spec.precision is Precision.FP8
