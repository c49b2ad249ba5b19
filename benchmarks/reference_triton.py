"""The reference engine behind Triton, boot after boot: A unchanged, B slowed by a planted share.

    python benchmarks/reference_triton.py OUT --point fp8-b64-c64 --boots 12 --planted 0.05

Order A B B A A B B A ...: a drift of the machine hits both arms alike. Every boot is a fresh
tritonserver, a fresh engine and a fresh load client, measured as `pytest -m perf` does. Writes
`OUT/triton-POINT.json` after each boot: the throughput of every round, the latencies, the client's
audit. Run it in the folder of the suite whose points are meant.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from perfgate.model import Measurement, OperatingPoint, Sampling
from perfgate.rig import Rig
from perfgate.setting import Setting, settle


class Silent:
    """Nobody watches."""

    def begin(self, what: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


def main() -> None:
    """Boot, measure, note, again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--point", default="fp8-b64-c64")
    parser.add_argument("--boots", type=int, default=12)
    parser.add_argument("--planted", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--round-requests", type=int)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"point": options.point, "planted": options.planted, "boots": []}
    for index in range(options.boots):
        arm = "A" if index % 4 in (0, 3) else "B"
        started = time.perf_counter()
        row = boot(options, 1.0 if arm == "A" else 1.0 + options.planted)
        row |= {"index": index, "arm": arm, "wall_s": time.perf_counter() - started}
        found["boots"].append(row)
        print(index, arm, f"{row['wall_s']:.0f} s", round(row["throughput_tok_s"], 1), flush=True)
        path = options.out / f"triton-{options.point}.json"
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")


def boot(options: argparse.Namespace, factor: float) -> dict[str, Any]:
    """One server's life: built, booted, measured, stopped."""
    with tempfile.TemporaryDirectory() as folder:
        setting = settle(
            Path.cwd(),
            target="reference",
            url=None,
            require_hardware=False,
            artifacts=Path(folder),
        )
        point = setting.suite.point(options.point)
        sampling = Sampling(
            rounds=options.rounds,
            round_requests=options.round_requests or point.sampling.round_requests,
        )
        with Rig(slowed(setting, factor), Silent()) as rig:
            return noted(rig.measure(dataclasses.replace(point, sampling=sampling)))


def slowed(setting: Setting, factor: float) -> Setting:
    """The same setting with every iteration longer."""
    simulation = dataclasses.replace(setting.profile.require_simulation(), step_time_factor=factor)
    profile = dataclasses.replace(setting.profile, simulation=simulation)
    return dataclasses.replace(setting, profile=profile)


def noted(measurement: Measurement) -> dict[str, Any]:
    """What is kept of a measurement."""
    point: OperatingPoint = measurement.point
    tpot = measurement.tpot_s
    assert measurement.audit is not None, "our own client audits itself"
    return {
        "round_requests": point.sampling.round_requests,
        "throughput_tok_s": measurement.throughput_tok_s,
        "round_tok_s": measurement.round_tok_s,
        "requests": measurement.requests,
        "latency_p50_s": measurement.latency_s.p50,
        "latency_p95_s": measurement.latency_s.p95,
        "ttft_p50_s": measurement.ttft_s.p50,
        "tpot_p50_s": tpot.p50 if tpot else None,
        "audit": dataclasses.asdict(measurement.audit),
        "vetoes": [veto.message for veto in measurement.vetoes],
    }


if __name__ == "__main__":
    main()
