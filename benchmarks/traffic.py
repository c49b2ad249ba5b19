"""How often a backlog is told as one, and what an interval is worth after a load stopped by it.

python benchmarks/traffic.py     minutes; writes the two tables of docs/traffic.md

No seed is one that the thresholds were chosen on (`measure.queueing`, `MAX_SHORTFALL`): those were
seeds 0 to 23. What is counted is the rule's own answer, as the gate would see it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from perfgate import codec
from perfgate.hardware import load_profile
from perfgate.measure.steady_validity import BACKLOG
from perfgate.measure.stopping import goes_on, half_width
from perfgate.model import ArrivalProcess, Arrivals, Sampling
from perfgate.sim.loads import measure_virtually
from perfgate.sim.virtual import simulate, steady_state
from perfgate.suite import load_suite

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "traffic.md"
SUITE = load_suite(ROOT)
PROFILE = load_profile(ROOT / "hardware" / "gb10.toml")
POINT = SUITE.point("fp8-b16-c16")

OFFERED = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4)
SEEDS = range(1000, 1100)
ROUNDS = (4, 12)  # of 60 requests

STREAMS = ((0.03, 0.02, 40), (0.03, 0.01, 40), (0.01, 0.01, 20), (0.03, 0.05, 40))
RUNS = 20_000


def main() -> int:
    """Measure both and write them."""
    write("backlog", backlogs())
    write("stopping", coverage())
    return 0


def backlogs() -> list[str]:
    """A row for each rate: which share of the seeds was told as a backlog."""
    full = replace(POINT.workload, concurrency=2 * POINT.engine.max_batch_size)
    run = simulate(POINT.engine, POINT.serving, full, PROFILE, requests=2000)
    capacity_s = steady_state(run).throughput_tok_s / full.osl
    windows = " | ".join(f"{rounds * 60} requests" for rounds in ROUNDS)
    rows = [f"| offered / capacity | {windows} |", "|---|" + "---|" * len(ROUNDS)]
    with ProcessPoolExecutor() as pool:
        for offered in OFFERED:
            told = [
                np.mean(list(pool.map(partial(waits, offered * capacity_s, rounds), SEEDS)))
                for rounds in ROUNDS
            ]
            rows.append(f"| {offered:g} | " + " | ".join(f"{share:.1%}" for share in told) + " |")
            print(rows[-1], flush=True)
    return rows


def waits(requests_per_s: float, rounds: int, seed: int) -> bool:
    """Whether one window of Poisson arrivals is told as a backlog."""
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=requests_per_s)
    load = replace(POINT.workload, concurrency=128, seed=seed, arrivals=arrivals)
    sampling = Sampling(rounds=rounds, round_requests=60)
    measured = measure_virtually(
        replace(POINT, workload=load, sampling=sampling, claim=None), PROFILE, SUITE.policy
    )
    return BACKLOG in {veto.rule for veto in measured.vetoes}


def coverage() -> list[str]:
    """A row for each scatter: rounds it took, bias of the mean, share of intervals that hold it."""
    rows = [
        "| rounds scatter by | `half_width` | rounds, mean | bias of the mean | interval holds |",
        "|---|---|---|---|---|",
    ]
    for scatter, width, most in STREAMS:
        sampling = Sampling(rounds=4, round_requests=1, half_width=width, max_rounds=most)
        rng = np.random.default_rng(20260101)
        taken, means, held = [], [], 0
        for _ in range(RUNS):
            rates: list[float] = []
            while goes_on(sampling, rates):
                rates.append(float(rng.normal(1, scatter)))
            taken.append(len(rates))
            means.append(float(np.mean(rates)))
            held += abs(means[-1] - 1) <= half_width(rates) * means[-1]
        rows.append(
            f"| {scatter:.0%} | {width:.0%} | {np.mean(taken):.1f} | {np.mean(means) - 1:+.2%}"
            f" | {held / RUNS:.1%} |"
        )
        print(rows[-1], flush=True)
    return rows


def write(name: str, rows: list[str]) -> None:
    """Put a table between its marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    table = "\n".join(rows)
    codec.write_atomic(PAGE, f"{before}{begin}\n\n{table}\n\n{end}{after}".encode())


if __name__ == "__main__":
    sys.exit(main())
