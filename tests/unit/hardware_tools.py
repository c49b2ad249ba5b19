"""Stand-ins for every tool of the hardware path, on PATH, and what they were asked."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.unit.hardware_samples import lay_out_models
from tests.unit.planted import ROOT

HERE = Path(__file__).parent


def lay_out_tools(folder, monkeypatch):
    """A folder with checkpoints, and stand-ins for every tool first on PATH."""
    tools = folder / "bin"
    tools.mkdir()
    for tool in ("trtllm-build", "quantize.py", "convert_checkpoint.py", "nvidia-smi", "docker"):
        script(tools / tool, f'"{HERE / "standin_tools.py"}" {tool} "$@"')
    standin = HERE / "standin_triton.py"
    script(tools / "tritonserver", f'"{standin}" "${{STANDIN_TRITON:-ok}}" "$@"')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    monkeypatch.setenv("STANDIN_LOG", str(folder / "ran"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # GPUs are claimed there
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lay_out_models(folder)


def script(path, words):
    """A program that runs Python on something."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
    path.chmod(0o755)


def ran(root):
    """The tools that ran, in order, without the questions to the driver."""
    lines = (root / "ran").read_text().splitlines() if (root / "ran").exists() else []
    return [line for line in lines if not line.startswith("nvidia-smi")]
