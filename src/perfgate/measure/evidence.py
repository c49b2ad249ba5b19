"""What the validity rules look at."""

from __future__ import annotations

from dataclasses import dataclass

from perfgate.measure.window import Window
from perfgate.model import LoadRun, Policy


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run, its steady window, and what is asked of both."""

    run: LoadRun
    window: Window
    policy: Policy
