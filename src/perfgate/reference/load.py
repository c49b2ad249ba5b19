"""From a built reference engine to one that runs: weights drawn, quantised, captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from perfgate.errors import MissingRequirementError
from perfgate.hardware import ModelGeometry, Simulation
from perfgate.model import EngineSpec, Precision, ServingSpec
from perfgate.reference.batch import Packer
from perfgate.reference.decoder import Decoder, make_cache, quantise, random_weights
from perfgate.reference.engine import ReferenceEngine
from perfgate.reference.runner import Runner
from perfgate.sim.scheduler import Emission, Scheduler

_ANY_TOKEN = 2


def load_decoder(
    geometry: ModelGeometry, spec: EngineSpec, *, pages: int, device: str, seed: int
) -> Decoder:
    """Draw the weights on the device and quantise them if the spec asks for FP8."""
    place = torch.device(device)
    with torch.inference_mode():
        weights = random_weights(geometry, seed=seed, device=place)
        if spec.precision is Precision.FP8:
            weights = quantise(geometry, weights, seed=seed)
        cache = make_cache(
            geometry,
            spec.precision,
            pages=pages,
            page_tokens=spec.tokens_per_block,
            device=place,
        )
        return Decoder(geometry, weights, cache, max_positions=spec.max_seq_len)


def load_engine(
    simulation: Simulation,
    spec: EngineSpec,
    serving: ServingSpec,
    *,
    vocab: int,
    device: str,
    seed: int,
    emit: Callable[[list[Emission]], None],
) -> tuple[ReferenceEngine, Runner]:
    """Make the engine on `device` (`cpu` or `cuda`); it answers with ids under `vocab`.

    Of `simulation` only the model's shape counts, and the slowdown if one is planted.

    Raises MissingRequirementError if PyTorch cannot use the device.
    """
    _require_device(device)
    pages = serving.kv_cache_tokens // spec.tokens_per_block
    packer = Packer(
        rows=spec.max_batch_size,
        longest_pages=-(-spec.max_seq_len // spec.tokens_per_block),
        spare=pages,
    )
    decoder = load_decoder(simulation.model, spec, pages=pages + 1, device=device, seed=seed)
    runner = Runner(
        decoder,
        max_tokens=spec.max_num_tokens,
        max_asked=spec.max_batch_size,
        tables=packer.tables,
        vocab=vocab,
    )
    runner.capture()
    scheduler = Scheduler(spec, serving, vocab_size=_ANY_TOKEN)
    engine = ReferenceEngine(
        scheduler, packer, runner, emit=emit, step_time_factor=simulation.step_time_factor
    )
    return engine, runner


def _require_device(device: str) -> None:
    cuda: Any = torch.cuda
    if device == "cuda" and not cuda.is_available():
        msg = f"PyTorch {torch.__version__} finds no GPU: install its CUDA build, or use one"
        raise MissingRequirementError(msg)
