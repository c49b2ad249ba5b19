"""A load as a queue: how many requests are in it, and whether ever more of them are.

A request is in the system from when it is due to when it has ended, whether or not it was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfgate.measure.metrics import residence_s
from perfgate.measure.steady import trend
from perfgate.measure.window import Window

Array = NDArray[np.float64]

_INSTANTS = 200
_SIGMAS = 3.0
# Fewer than for throughput: numbers in the system forget more slowly than token rates.
_PARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LittlesLaw:
    """Little's law over a window: requests in the system, and request rate x mean residence.

    `allowed` is the share by which chance may set the two apart, where requests are not all alike.
    """

    in_system: float
    implied: float
    allowed: float

    @property
    def error(self) -> float:
        """How far they are apart, as a share of the former."""
        return abs(self.in_system - self.implied) / self.in_system


def littles_law(window: Window) -> LittlesLaw:
    """Hold the mean number in the system against rate x mean residence (Little 1961).

    Requests in the system at either bound of the window count on one side with a part of their time
    that they do not on the other. Their ages at a random moment have the second moment
    E[R^3] / 3 E[R] of renewal theory (Cox, "Renewal Theory", 1962), and their number the variance
    that the window shows around a straight line, at least that of Poisson arrivals: three standard
    deviations are allowed.
    """
    residence = np.array([residence_s(record) for record in window.finished])
    in_system = float(in_system_means(window, 1)[0])
    scatter = max(in_system, _variance(window))
    third = float((residence**3).mean() / residence.mean() ** 3)
    edges = np.sqrt(2 * scatter * third / 3) / len(residence)
    return LittlesLaw(
        in_system=in_system,
        implied=len(residence) / window.seconds * float(residence.mean()),
        allowed=_SIGMAS * float(edges),
    )


def shortfall(window: Window) -> float:
    """Which share of the requests that arrived in the window was added to those that wait.

    The number in the system is averaged over ten parts of the window and a straight line put
    through them; 0 unless chance is ruled out (p < 0.001) and the line rises.
    """
    arrived = sum(window.start_ns < record.due_ns <= window.end_ns for record in window.records)
    return max(0.0, trend(in_system_means(window, _PARTS))) / max(1, arrived)


def in_system_means(window: Window, parts: int) -> Array:
    """Mean number of requests in the system in each of so many equal parts of the window."""
    due, finished = _stamps(window)
    edges = np.linspace(window.start_ns, window.end_ns, parts + 1)
    spent = np.clip(edges[:, None] - due, 0, finished - due).sum(axis=1)
    means: Array = np.diff(spent) / np.diff(edges)
    return means


def _variance(window: Window) -> float:
    due, finished = _stamps(window)
    at = np.linspace(window.start_ns, window.end_ns, _INSTANTS)
    counts = np.searchsorted(np.sort(due), at) - np.searchsorted(np.sort(finished), at)
    places = at - at.mean()
    slope = (places * counts).sum() / (places**2).sum()
    return float((counts - slope * places).var())


def _stamps(window: Window) -> tuple[Array, Array]:
    due = np.array([record.due_ns for record in window.records], dtype=np.float64)
    finished = np.array([record.finished_ns for record in window.records], dtype=np.float64)
    return due, finished
