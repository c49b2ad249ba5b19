"""What is said of a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perfgate.model.spec import Target


class Verdict(StrEnum):
    """The six answers of the gate; only REGRESSION says that the change is slower."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    IMPROVEMENT = "IMPROVEMENT"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    UNSTABLE = "UNSTABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one number: what was expected, what was got, and what follows."""

    check: str
    metric: str = ""
    unit: str = ""
    expected: float | None = None
    got: float | None = None
    margin: float | None = None
    verdict: Verdict
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one operating point, or one comparison of two, and all it rests on."""

    point: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    records: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """Where a set of measurements comes from; wall-clock times are provenance only."""

    target: Target
    hardware: str
    hardware_title: str
    simulated: bool
    started_at: str
    duration_s: float
    perfgate_version: str
    commit: str
    command: str
