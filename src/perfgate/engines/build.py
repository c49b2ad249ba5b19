"""EngineSpec -> Engine: built for a target, or taken from the cache, and checked either way."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from perfgate.engines.cache import cached, digest
from perfgate.engines.inspect import check_engine
from perfgate.engines.layout import read_config, write_reference, write_simulated
from perfgate.engines.llmapi import build_llmapi_engine
from perfgate.engines.site import Site
from perfgate.engines.trt_engine import build_trt_engine
from perfgate.errors import UsageError
from perfgate.hardware import HardwareProfile
from perfgate.model import Engine, EngineSpec, Target
from perfgate.trtllm import CONFIG_FILE

# 1: config.json and rank0.engine with magic, spec and profile. 2: plugins as the flags set them.
FORMAT_VERSION = 2
_WRITERS = {Target.SIM: write_simulated, Target.REFERENCE: write_reference}


def build(
    spec: EngineSpec,
    *,
    target: Target,
    profile: HardwareProfile,
    cache: Path,
    site: Site | None = None,
) -> Engine:
    """Build the engine unless the cache has it; its precision and sizes are checked each time.

    `site` is what hardware targets build from. Raises UsageError for a target that builds no
    engine, BuildError if the engine is not what `spec` asks for.
    """
    match target:
        case Target.SIM | Target.REFERENCE:
            return _described(spec, target, profile, cache)
        case Target.TRT_ENGINE if site is not None:
            return build_trt_engine(spec, site, cache)
        case Target.LLMAPI if site is not None:
            return build_llmapi_engine(spec, site, cache)
        case Target.REMOTE:
            # Whoever started that server built its engine; nothing is known of it but its answers.
            return Engine(spec=spec, target=target, directory=Path(), digest="remote")
    raise UsageError("target", str(target), f"{CONFIG_FILE} says from what it is built")


def _described(spec: EngineSpec, target: Target, profile: HardwareProfile, cache: Path) -> Engine:
    """An engine whose files only describe it: it is simulated, or its weights are drawn."""
    version = importlib.metadata.version("perfgate")
    name = digest(format=FORMAT_VERSION, target=target, spec=spec, profile=profile)
    directory = cached(
        cache,
        f"{spec.name}-{name}",
        lambda unfinished: _WRITERS[target](unfinished, spec, profile, version),
    )
    check_engine(read_config(directory), spec)
    return Engine(spec=spec, target=target, directory=directory.resolve(), digest=name)
