"""Stands for `triton_python_backend_utils`, which exists inside Triton's stub only.

Importing this puts it where the models look for it.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np

FINAL = 1


class Tensor:
    """A named array, as Triton hands it over."""

    def __init__(self, name, array):
        self._name = name
        self._array = array

    def name(self):
        """The tensor's name."""
        return self._name

    def as_numpy(self):
        """The tensor's values."""
        return self._array


class TritonError(Exception):
    """An error for the client, with a code."""

    INVALID_ARG = 3
    CANCELLED = 6
    INTERNAL = 1

    def __init__(self, message, code=INTERNAL):
        super().__init__(message)
        self.code = code

    def message(self):
        """What the client is told."""
        return str(self)


class InferenceResponse:
    """Tensors, or an error."""

    def __init__(self, output_tensors=(), error=None):
        self.tensors = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}
        self.error = error


class MetricFamily:
    """Remembers every metric made of it, by its labels."""

    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
    made: dict[tuple[str, tuple[tuple[str, str], ...]], Metric] = {}  # noqa: RUF012 - a registry

    def __init__(self, name, description, kind):
        self.name, self.description, self.kind = name, description, kind

    def Metric(self, labels, buckets=None):  # noqa: N802 - Triton's spelling
        """Make a metric."""
        metric = Metric(self.kind, buckets)
        MetricFamily.made[self.name, tuple(sorted(labels.items()))] = metric
        return metric


class Metric:
    """A value, and everything that was observed."""

    def __init__(self, kind, buckets):
        self.kind, self.buckets, self.value, self.observed = kind, buckets, 0.0, []

    def set(self, value):
        """Set a gauge."""
        self.value = value

    def increment(self, by):
        """Add to a counter."""
        self.value += by

    def observe(self, value):
        """Add to a histogram."""
        self.observed.append(value)


class Logger:
    """Keeps what was logged."""

    errors: list[str] = []  # noqa: RUF012 - a log

    @classmethod
    def log_error(cls, text):
        """Keep an error."""
        cls.errors.append(text)

    @classmethod
    def log_info(cls, text):
        """Forget a remark."""


class Sender:
    """Where a decoupled model sends its responses; `cancelled` plays a client that has gone."""

    def __init__(self):
        self.sent = []
        self.cancelled = False

    def send(self, response=None, flags=0):
        """Keep a response."""
        assert not self.finished, "a response after the final one"
        self.sent.append((response, flags))

    def is_cancelled(self):
        """Whether the client has gone."""
        return self.cancelled

    @property
    def finished(self):
        """Whether the final response was sent."""
        return any(flags & FINAL for _, flags in self.sent)

    @property
    def responses(self):
        """The responses that are more than a flag."""
        return [response for response, _ in self.sent if response is not None]


class Request:
    """A request of named arrays."""

    def __init__(self, sender=None, **arrays):
        self.sender = sender or Sender()
        self._arrays = arrays

    def inputs(self):
        """Its tensors."""
        return [Tensor(name, array) for name, array in self._arrays.items()]

    def get_response_sender(self):
        """Where the answers go."""
        return self.sender


def numbers(*values, dtype=np.int32):
    """One row of numbers, with the batch dimension Triton adds."""
    return np.array([values], dtype=dtype)


def words(*values):
    """One row of byte strings."""
    return np.array([[value.encode() for value in values]], dtype=object)


_module = ModuleType("triton_python_backend_utils")
vars(_module).update(
    Tensor=Tensor,
    TritonError=TritonError,
    InferenceResponse=InferenceResponse,
    MetricFamily=MetricFamily,
    Logger=Logger,
    TRITONSERVER_RESPONSE_COMPLETE_FINAL=FINAL,
)
sys.modules[_module.__name__] = _module
