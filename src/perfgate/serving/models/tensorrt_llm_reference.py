"""The reference engine, where the C++ backend stands with TensorRT-LLM."""

import os
import sys

# Triton's stub runs an isolated Python, which ignores PYTHONPATH: without this it would serve with
# whichever perfgate is installed, not with the one that was started.
sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))

from perfgate.serving.reference.backend import TritonPythonModel  # noqa: E402 - found only now

__all__ = ["TritonPythonModel"]
