"""EngineSpec -> Engine: built for a target, or taken from the cache, and checked either way."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from perfgate.engines.cache import cached, digest
from perfgate.engines.inspect import check_engine
from perfgate.engines.layout import read_config, write_simulated
from perfgate.errors import UsageError
from perfgate.hardware import HardwareProfile
from perfgate.model import Engine, EngineSpec, Target

# 1: config.json and rank0.engine with magic, spec and profile.
FORMAT_VERSION = 1


def build(spec: EngineSpec, *, target: Target, profile: HardwareProfile, cache: Path) -> Engine:
    """Build the engine unless the cache has it; its precision and sizes are checked each time.

    Raises UsageError for a target that builds no engine, BuildError if the engine is not what
    `spec` asks for.
    """
    if target is not Target.SIM:
        raise UsageError("target", str(target), f"engines are built for {Target.SIM}")
    version = importlib.metadata.version("perfgate")
    name = digest(format=FORMAT_VERSION, target=target, spec=spec, profile=profile)
    directory = cached(
        cache,
        f"{spec.name}-{name}",
        lambda unfinished: write_simulated(unfinished, spec, profile, version),
    )
    check_engine(read_config(directory), spec)
    return Engine(spec=spec, target=target, directory=directory.resolve(), digest=name)
