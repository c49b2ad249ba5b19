"""Where a set of measurements comes from, for the reader of its files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from perfgate.model import RunInfo, Target
from perfgate.provenance import commit, versions
from perfgate.setting import Setting


def run_info(setting: Setting, *, started_at: str, duration_s: float) -> RunInfo:
    """Describe this process's run."""
    return described_run(
        setting.suite.root,
        target=setting.target,
        hardware=setting.hardware,
        title=setting.profile.title,
        started_at=started_at,
        duration_s=duration_s,
    )


def described_run(
    root: Path, *, target: Target, hardware: str, title: str, started_at: str, duration_s: float
) -> RunInfo:
    """Describe a run on `hardware`, called `title`, by what this process knows of the suite."""
    return RunInfo(
        target=target,
        hardware=hardware,
        hardware_title=title,
        simulated=target is Target.SIM,
        started_at=started_at,
        duration_s=round(duration_s, 1),
        perfgate_version=versions()["perfgate"],
        commit=commit(root),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )
