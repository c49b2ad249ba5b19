"""The simulated TensorRT-LLM engine, where the C++ backend stands on hardware."""

from perfgate.serving.simulated.backend import TritonPythonModel

__all__ = ["TritonPythonModel"]
