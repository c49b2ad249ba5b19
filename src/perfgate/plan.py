"""`perfgate plan`: what a target would build, render and run, written down and not done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perfgate import codec
from perfgate.engines.commands import Command, Workshop, container_tools
from perfgate.engines.containers import contained
from perfgate.engines.llmapi import require_fused_attention, source_folder
from perfgate.engines.site import Site, origin
from perfgate.engines.trt_engine import Places, container, recipe
from perfgate.errors import UsageError
from perfgate.gpus import VISIBLE, Gpu
from perfgate.model import Engine, OperatingPoint, Target
from perfgate.serving.command import Ports, server_command
from perfgate.serving.hardware import BINARY, TRITONSERVER, hardware_command
from perfgate.serving.process import device_environment
from perfgate.serving.repository import write_repository
from perfgate.serving.tokenizer import load_tokenizer, save_tokenizer
from perfgate.serving.triton import find_triton, make_backend_directory
from perfgate.trtllm import Runner, TrtllmConfig

PLAN_FILE = "plan.json"
COMMANDS_FILE = "commands.json"
# Triton's own defaults; a real run picks free ones.
PORTS = Ports(http=8000, grpc=8001, metrics=8002)
IDENTITY = "perfgate-plan-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointPlan:
    """One point: where its repository was rendered, and every command in order.

    `refused` says why the target cannot run the point; then there is nothing else.
    """

    point: str
    engine: str
    repository: str = ""
    commands: tuple[Command, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was planned, of all points, and with which versions."""

    target: Target
    tensorrt_llm: str
    container: str
    points: tuple[PointPlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What every point's plan has in common; `output` is where all of it is written."""

    root: Path
    cache: Path
    target: Target
    config: TrtllmConfig | None
    output: Path

    def write(self, points: Sequence[OperatingPoint]) -> Plan:
        """Render every point's repository and write its commands; nothing else is touched.

        A single point that the target cannot run is a UsageError; among several it is told in the
        plan.
        """
        _require_new(self.output)
        try:
            planned = tuple(self._planned(point, alone=len(points) == 1) for point in points)
            plan = Plan(
                target=self.target,
                tensorrt_llm=self.config.tensorrt_llm if self.config else "",
                container=self.config.container if self.config else "",
                points=planned,
            )
            codec.write_atomic(self.output / PLAN_FILE, codec.to_pretty_json(plan))
        except BaseException:
            shutil.rmtree(self.output, ignore_errors=True)
            raise
        return plan

    def _planned(self, point: OperatingPoint, *, alone: bool) -> PointPlan:
        try:
            plan = self._point(point)
        except UsageError as error:
            if alone:
                raise
            return PointPlan(point=point.id, engine=point.engine.name, refused=str(error))
        codec.write_atomic(
            self.output / point.id / COMMANDS_FILE, codec.to_pretty_json(plan.commands)
        )
        return plan

    def _point(self, point: OperatingPoint) -> PointPlan:
        folder = self.output.resolve() / point.id
        if self.target in {Target.SIM, Target.REFERENCE}:
            commands = self._wheel(point, folder)
        else:
            commands = self._hardware(point, folder)
        return PointPlan(
            point=point.id,
            engine=point.engine.name,
            repository=str(folder / "models"),
            commands=commands,
        )

    def _wheel(self, point: OperatingPoint, folder: Path) -> tuple[Command, ...]:
        install = find_triton()
        engine = self._engine(point)
        save_tokenizer(load_tokenizer(), folder / "tokenizer")
        repository = write_repository(folder, engine, point.serving, folder / "tokenizer")
        argv = server_command(
            install.binary,
            repository=repository,
            backends=make_backend_directory(install, folder / "backends"),
            ports=PORTS,
            identity=IDENTITY,
        )
        environment = install.environment | device_environment(self.target)
        added = {key: value for key, value in environment.items() if os.environ.get(key) != value}
        return (Command(name=TRITONSERVER, argv=argv, environment=added),)

    def _hardware(self, point: OperatingPoint, folder: Path) -> tuple[Command, ...]:
        site = self._site()
        engine = self._engine(point)
        if self.target is Target.LLMAPI:
            require_fused_attention(point.engine)
            source = source_folder(point.engine, site)
            builds: tuple[Command, ...] = ()
        else:
            source = site.checkpoint(point.engine)
            builds = self._builds(point, site, engine.directory)
        repository = write_repository(
            folder, engine, point.serving, source, tensorrt_llm=site.config.tensorrt_llm
        )
        served = hardware_command(
            origin(site, source),
            binary=BINARY,
            repository=repository,
            engine=engine.directory,
            ports=PORTS,
            identity=IDENTITY,
            gpu=os.environ.get(VISIBLE, "0").partition(",")[0],
        )
        return (*builds, served.command)

    def _builds(self, point: OperatingPoint, site: Site, engine: Path) -> tuple[Command, ...]:
        spec = point.engine
        workshop = Workshop(
            version=site.config.tensorrt_llm,
            tools=container_tools(site.config.source(spec).family),
            environment=site.config.environment,
        )
        checkpoints = self.cache / "checkpoints"
        places = Places(
            source=site.checkpoint(spec),
            dataset=site.dataset(),
            checkpoint=checkpoints / f"{spec.model}-{spec.precision}-planned",
            engine=engine,
            timing_cache=self.cache / "timing-planned.cache",
        )
        commands = recipe(spec, site.config.calibration, workshop, places)
        if site.config.runner is Runner.LOCAL:
            return commands
        first, last = commands
        sources = (places.source, places.dataset)
        boxes = (
            container(site, writable=(places.checkpoint,), read_only=sources),
            container(site, writable=(engine, self.cache), read_only=(places.checkpoint,)),
        )
        return tuple(
            contained(command, box, name=f"{IDENTITY}build", network="none")
            for command, box in zip((first, last), boxes, strict=True)
        )

    def _engine(self, point: OperatingPoint) -> Engine:
        # The digest takes checkpoint and GPU, which need not be here.
        directory = self.cache / f"{point.engine.name}-planned"
        return Engine(spec=point.engine, target=self.target, directory=directory, digest="planned")

    def _site(self) -> Site:
        if self.config is None:
            rule = "a running server is asked, not built: there is nothing to plan"
            raise UsageError("--target", str(self.target), rule)
        gpu = Gpu(index=0, name="planned", compute_capability="", driver="")
        return Site.at(self.root, self.config, gpu)


def described(plan: Plan) -> str:
    """The plan in a few lines for a person."""
    lines = []
    for point in plan.points:
        what = point.refused or " -> ".join(command.name for command in point.commands)
        lines.append(f"{point.point:<24} {what}")
    return "\n".join(lines)


def _require_new(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        rule = "it must be a new or empty folder: a plan is not mixed with other files"
        raise UsageError("--output", str(output), rule)
