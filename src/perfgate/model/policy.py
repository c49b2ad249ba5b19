"""The rules of judgement, kept in a file under review."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfgate.errors import UsageError
from perfgate.model.checks import require_all_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A loss up to `tolerance` is never blocked, one of `margin` must be caught (as shares)."""

    tolerance: float = 0.01
    margin: float = 0.05

    def __post_init__(self) -> None:
        """Refuse limits between which nothing lies."""
        if not 0 <= self.tolerance < self.margin < 1:
            rule = f"it must lie between 0 and the margin ({self.margin:g}), the margin below 1"
            raise UsageError("tolerance", self.tolerance, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPolicy:
    """How a candidate is held against a base of the same job; cells are `point:metric`.

    Up to four `primary` cells decide; `secondary` ones are told. `tolerance` and `margin` are the
    limits of all cells but those in `own`. `budget_minutes` is what a job may cost.
    """

    primary: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    tolerance: float = 0.01
    margin: float = 0.05
    own: dict[str, Limits] = field(default_factory=dict)
    budget_minutes: float = 100.0

    def __post_init__(self) -> None:
        """Refuse more cells than can share the error, and limits between which nothing lies."""
        if len(self.primary) > MOST_PRIMARY:
            rule = f"at most {MOST_PRIMARY} cells can share the error; make others secondary"
            raise UsageError("primary", len(self.primary), rule)
        for cell in (*self.primary, *self.secondary):
            if not all(cell.partition(":")[::2]):
                raise UsageError("cell", cell, "it must read point:metric")
        for cell in self.own:
            if cell not in {*self.primary, *self.secondary}:
                raise UsageError("own", cell, "it must be a primary or secondary cell")
        Limits(tolerance=self.tolerance, margin=self.margin)
        require_all_positive(self, "budget_minutes")


MOST_PRIMARY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of judgement, kept in a file under review.

    Margins are fractions of the baseline. The first group decides verdicts, the second vetoes.
    """

    throughput_margin: float = 0.05
    latency_margin: float = 0.05
    max_p95_over_p50: float = 1.10
    fp8_speedup: float = 1.6
    fmha_tpot_margin: float = 0.02
    prefill_margin: float = 0.10
    decode_step_margin: float = 0.03

    littles_law_margin: float = 0.03
    max_client_cpu_share: float = 0.70
    max_client_lag_s: float = 0.010
    max_stolen_share: float = 0.05
    max_server_lateness: float = 0.02
    max_slowdown_share: float = 0.01
    min_sm_clock: float = 0.60
    max_sm_clock: float = 1.0
    max_clock_out_share: float = 0.05
    max_drift: float = 0.05

    paired: PairedPolicy = field(default_factory=PairedPolicy)

    def __post_init__(self) -> None:
        """Refuse a margin that is no fraction, and a factor below one."""
        for name in (
            "throughput_margin",
            "latency_margin",
            "fmha_tpot_margin",
            "prefill_margin",
            "decode_step_margin",
            "littles_law_margin",
            "max_client_cpu_share",
            "max_stolen_share",
            "max_server_lateness",
            "max_slowdown_share",
            "min_sm_clock",
            "max_clock_out_share",
            "max_drift",
        ):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(name, getattr(self, name), "it must lie between 0 and 1")
        for name in ("max_p95_over_p50", "fp8_speedup"):
            if getattr(self, name) < 1:
                raise UsageError(name, getattr(self, name), "it must be at least 1")
        if self.max_client_lag_s <= 0:
            raise UsageError("max_client_lag_s", self.max_client_lag_s, "it must be positive")
        if not self.min_sm_clock < self.max_sm_clock <= 1:
            rule = f"it must lie above min_sm_clock ({self.min_sm_clock}) and be at most 1"
            raise UsageError("max_sm_clock", self.max_sm_clock, rule)
