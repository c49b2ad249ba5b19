"""How often the gate errs, and what it costs: measured on made-up hosts, beside its peers' rules.

python benchmarks/gate_power.py            all of it: results, plot and tables of docs/gate.md
python benchmarks/gate_power.py --short    a minute's worth: exit 1 if a rate leaves its band
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from power.grid import CVS, LOSSES, OURS, OURS_FOUR, Rate, rates, situations
from power.noise import MODELS
from power.pages import plot, tables

from perfgate import codec

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "gate_power.json"
PAGE = ROOT / "docs" / "gate.md"
PLOT = ROOT / "docs" / "gate_power.svg"
BEGIN, END = "<!-- power: begin -->", "<!-- power: end -->"
JOBS, SHORT_JOBS = 4000, 1500
SHORT_LOSSES = (0.0, 0.05, 0.10)
SHORT_MODELS = ("field", "heavy tails", "outlier runs")


@dataclass(frozen=True)
class Band:
    """Where a rate must lie; a margin for the short run's few jobs is part of it."""

    rule: str
    noise: str
    cv: float
    loss: float
    field: str
    low: float
    high: float

    def broken(self, found: list[Rate]) -> str:
        """Say how the rate misses the band; empty if it does not."""
        key = (self.rule, self.noise, self.cv, self.loss)
        rate = next(one for one in found if (one.rule, one.noise, one.cv, one.loss) == key)
        value = getattr(rate, self.field)
        if self.low <= value <= self.high:
            return ""
        return f"{self}: {self.field} is {value:.4f}"


BANDS = (
    *(Band(OURS_FOUR, noise, cv, 0.0, "red", 0.0, 0.01) for noise in SHORT_MODELS for cv in CVS),
    *(Band(OURS, noise, cv, 0.05, "passed", 0.0, 0.06) for noise in SHORT_MODELS for cv in CVS),
    Band(OURS, "field", 0.02, 0.05, "red", 0.93, 0.99),
    Band(OURS_FOUR, "field", 0.02, 0.05, "red", 0.93, 0.99),
    Band(OURS, "field", 0.02, 0.10, "red", 0.997, 1.0),
    Band(OURS, "field", 0.01, 0.0, "minutes", 5.0, 11.0),
    Band(OURS, "field", 0.02, 0.0, "minutes", 12.0, 21.5),
)


def main() -> int:
    """Run the experiment, long or short."""
    return short() if "--short" in sys.argv[1:] else full()


def full() -> int:
    """Every situation; writes results, plot and tables."""
    found: list[Rate] = []
    todo = list(situations(MODELS, CVS, LOSSES))
    started = time.monotonic()
    for done, (noise, cv, loss) in enumerate(todo, start=1):
        found += rates(noise, cv, loss, jobs=JOBS)
        _progress(done, len(todo), started)
    codec.write_atomic(RESULTS, b"[\n" + b",\n".join(map(codec.to_json, found)) + b"\n]\n")
    codec.write_atomic(PLOT, plot(found).encode())
    _write_tables(tables(found))
    print(f"\nwrote {RESULTS}, {PLOT} and the tables of {PAGE}")
    return 0


def short() -> int:
    """A few situations; tells each rate that lies outside its band."""
    found: list[Rate] = []
    models = tuple(model for model in MODELS if model.name in SHORT_MODELS)
    for noise, cv, loss in situations(models, CVS, SHORT_LOSSES):
        found += rates(noise, cv, loss, jobs=SHORT_JOBS, peers=False)
    broken = [text for band in BANDS if (text := band.broken(found))]
    print("\n".join(broken) or f"all {len(BANDS)} rates lie in their bands")
    return 1 if broken else 0


def _write_tables(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    codec.write_atomic(PAGE, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


def _progress(done: int, total: int, started: float) -> None:
    left = (time.monotonic() - started) / done * (total - done)
    print(f"\r{done} of {total} situations, {left:.0f} s left ", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
