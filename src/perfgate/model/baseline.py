"""What a measurement is held against: cells, samples, ratchets and lowerings."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfgate.errors import UsageError
from perfgate.model.checks import require_all_positive
from perfgate.model.spec import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSample:
    """One accepted run of one cell, as a baseline stores it.

    `prefill_s` is the mean request's time in prefill, `decode_step_s` its mean time a token after
    the first, both by the server's own stamps; None where it gave none, and in runs that were
    recorded before they were kept.
    """

    session: str
    measured_at: str
    commit: str
    requests: int
    throughput_tok_s: float
    latency_p50_s: float
    latency_p95_s: float
    ttft_p50_s: float
    tpot_p50_s: float | None
    prefill_s: float | None = None
    decode_step_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a run that did nothing: relative changes from zero have no meaning."""
        require_all_positive(self, "requests", "throughput_tok_s", "latency_p50_s", "latency_p95_s")
        require_all_positive(self, "prefill_s", "decode_step_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one operating point is expected to reach, and where that is known from."""

    floor_tok_s: float | None = None
    ceiling_p95_s: float | None = None
    source: str
    identity: dict[str, str] = field(default_factory=dict)
    samples: tuple[RunSample, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a floor or ceiling that nothing can miss."""
        require_all_positive(self, "floor_tok_s", "ceiling_p95_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """A floor that was raised to what several sessions have confirmed; never typed by hand."""

    cell: str
    floor_tok_s: float
    sessions: tuple[str, ...]
    accepted_at: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """A limit that was lowered on purpose: from what to what, why, and until which day."""

    cell: str
    floor_tok_s: float
    before_tok_s: float
    reason: str
    expires: str
    lowered_at: str
    commit: str
    signed_by: str = ""

    def __post_init__(self) -> None:
        """Refuse a lowering without a reason, or one that raises."""
        if not self.reason.strip():
            raise UsageError("reason", self.reason, "say why the limit may be lower")
        if not 0 < self.floor_tok_s < self.before_tok_s:
            rule = f"it must lie between 0 and the present floor ({self.before_tok_s:g})"
            raise UsageError("floor_tok_s", self.floor_tok_s, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The expected numbers of one model at one precision on one kind of hardware.

    `ratchets` and `ledger` only ever grow. `digest` is the SHA-256 of everything else in the file,
    `previous` the digest of the file it replaced.
    """

    schema_version: int
    hardware: str
    model: str
    precision: Precision
    cells: dict[str, Cell]
    ratchets: tuple[Ratchet, ...] = ()
    ledger: tuple[Lowering, ...] = ()
    previous: str = ""
    digest: str = ""
