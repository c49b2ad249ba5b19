"""What one run measured and judged, before any file or report is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perfgate.model import Comparison, Judgement, Measurement, Policy, RunInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one run measured and judged.

    `judgements` are on points, `compared` on the questions in `comparisons`; `unmeasured` gives
    the reason for each point that could not be measured.
    """

    info: RunInfo
    policy: Policy
    measurements: tuple[Measurement, ...]
    judgements: tuple[Judgement, ...]
    comparisons: tuple[Comparison, ...] = ()
    compared: tuple[Judgement, ...] = ()
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    @property
    def every_judgement(self) -> tuple[Judgement, ...]:
        """Those on points, then those on questions."""
        return (*self.judgements, *self.compared)
