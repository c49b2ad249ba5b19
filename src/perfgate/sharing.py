"""How xdist shares measuring tests out: one worker for each GPU, whatever `-n` says.

Not by xdist's own groups: it tells them by changing the ids of tests, which pytest 9.1 and later
do not let it do.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from perfgate.gpus import gpu_count
from perfgate.setting import Setting
from perfgate.suite import Suite


class GpuScheduling(LoadScopeScheduling):  # type: ignore[misc]  # ships no types
    """Hands each worker all the tests of one GPU's engines."""

    def __init__(self, config: pytest.Config, log: Any, setting: Setting) -> None:
        super().__init__(config, log)
        self._suite = setting.suite
        self._gpus = gpu_count(setting.target)

    def _split_scope(self, nodeid: str) -> str:
        return f"gpu {gpu_group(nodeid, self._suite, self._gpus)}"


def gpu_group(nodeid: str, suite: Suite, gpus: int) -> int:
    """The GPU, from 0, that a test's engine belongs to; what asks for several engines, to the last.

    The test's point stands in the brackets of its id.
    """
    engines = list(dict.fromkeys(point.engine for point in suite.points))
    _, _, parameters = nodeid.partition("[")
    named = [point for point in suite.points if point.id in parameters]
    # One point's id may be the beginning of another's.
    point = max(named, key=lambda point: len(point.id), default=None)
    return (engines.index(point.engine) if point else len(engines)) % gpus
