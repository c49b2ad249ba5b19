"""The Triton model: requests to the reference engine, its tokens back as responses.

All but the engine is the simulated target's: the same tensors, the same answers, the same metrics.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from perfgate.engines.layout import read_reference
from perfgate.model import ServingSpec
from perfgate.reference.load import load_engine
from perfgate.serving.simulated import backend
from perfgate.serving.simulated.asks import Ask
from perfgate.serving.tokenizer import VOCAB_SIZE

# How long a thread that sends may keep the engine's waiting: an iteration takes milliseconds.
_SWITCH_S = 0.0005


class TritonPythonModel(backend.TritonPythonModel):
    """A decoupled model: `execute` takes requests in, the engine's thread sends the responses."""

    own_metrics = "perfgate_reference"

    def _load(self, directory: Path, serving: ServingSpec) -> Any:
        sys.setswitchinterval(_SWITCH_S)
        # On a CPU a second thread would take the core that Triton and the client need.
        torch.set_num_threads(1)
        built = read_reference(directory)
        engine, _ = load_engine(
            built.profile.require_simulation(),
            built.spec,
            serving,
            vocab=VOCAB_SIZE,
            device=built.device,
            seed=built.seed,
            emit=self._emit,
        )
        return engine

    def _submit(self, ask: Ask) -> None:
        self._engine.submit(ask.request, ask.prompt)
