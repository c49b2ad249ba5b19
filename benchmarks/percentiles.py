"""Which estimator of a P95: NumPy's default (type 7) or Harrell and Davis, on a server's streams.

python benchmarks/percentiles.py     seconds; writes the table of docs/metrics.md

A closed loop on the simulated engine runs in virtual time while its steps scatter and stall. Its
latencies are cut into windows as a run has them, neighbours kept together, for requests of a batch
are alike. Each window's P95 is compared with that of the whole stream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats.mstats import hdquantiles

from perfgate import codec
from perfgate.hardware import HardwareProfile, load_profile
from perfgate.model import OperatingPoint, RequestStatus
from perfgate.sim.cost import cost_model
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Step
from perfgate.sim.virtual import TURNAROUND_S, run_load
from perfgate.suite import load_suite

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- percentiles: begin -->", "<!-- percentiles: end -->"
POINT = "fp8-b64-c64"
REQUESTS = 24_000
WINDOWS = (60, 128, 320)
SEED = 20260101

Array = NDArray[np.float64]
ESTIMATORS: dict[str, Callable[[Array], float]] = {
    "type 7": lambda window: float(np.percentile(window, 95)),
    "Harrell-Davis": lambda window: float(hdquantiles(window, prob=[0.95])[0]),
}


@dataclass(frozen=True)
class Stream:
    """How steps scatter: their sd, and a share of them that stall for so many seconds."""

    name: str
    step_sd: float
    stalls: float = 0.0
    stall_s: float = 0.0


STREAMS = (
    Stream("even steps", 0.02),
    Stream("uneven steps", 0.3),
    Stream("rare stalls", 0.02, stalls=0.0005, stall_s=1.0),
    Stream("frequent stalls", 0.02, stalls=0.02, stall_s=0.25),
)


def main() -> int:
    """Simulate each stream and write the table."""
    profile = load_profile(ROOT / "hardware" / "gb10.toml")
    point = load_suite(ROOT).point(POINT)
    rows = [
        "| stream | requests | type 7: bias, sd | Harrell-Davis: bias, sd |",
        "|---|---|---|---|",
    ]
    for stream in STREAMS:
        latencies = latencies_of(stream, profile, point)
        truth = float(np.percentile(latencies, 95))
        for size in WINDOWS:
            found = [errors(estimate, latencies, size, truth) for estimate in ESTIMATORS.values()]
            cells = " | ".join(f"{error.mean():+.2%}, {error.std():.2%}" for error in found)
            rows.append(f"| {stream.name} | {size} | {cells} |")
            print(rows[-1], flush=True)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(rows)
    codec.write_atomic(PAGE, f"{before}{BEGIN}\n\n{table}\n\n{END}{after}".encode())
    return 0


def latencies_of(stream: Stream, profile: HardwareProfile, point: OperatingPoint) -> Array:
    """Latencies of the stream's steady state in the order in which requests ended, in s."""
    rng = np.random.default_rng(SEED)
    honest = cost_model(profile, point.engine).step_seconds

    def cost(step: Step) -> float:
        stalled = rng.random() < stream.stalls
        noise = float(np.exp(stream.step_sd * rng.standard_normal()))
        return honest(step) * noise + stalled * stream.stall_s

    run = run_load(
        Scheduler(point.engine, point.serving, vocab_size=2),
        cost,
        point.workload,
        requests=REQUESTS,
        turnaround_s=TURNAROUND_S,
    )
    ended = [
        record
        for record in run.records
        if record.sent_ns >= run.steady_ns and record.status is RequestStatus.OK
    ]
    ended.sort(key=lambda record: record.finished_ns)
    return np.array([(record.finished_ns - record.sent_ns) / 1e9 for record in ended])


def errors(estimate: Callable[[Array], float], latencies: Array, size: int, truth: float) -> Array:
    """How far each window's P95 lies off the stream's, as a share of it."""
    whole = latencies[: len(latencies) // size * size].reshape(-1, size)
    return np.array([estimate(window) / truth - 1 for window in whole])


if __name__ == "__main__":
    sys.exit(main())
