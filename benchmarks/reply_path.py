"""How many tokens a second Triton's reply path passes, and which of its threads are busy.

    python benchmarks/reply_path.py OUT --response-threads 2 4 8

Behind the ensemble stands the simulated engine at a step time near 0, so nothing but the path from
its tokens to the client is measured. A token is a response through two Python processes: this is
the ceiling of every target whose engine is a Python backend. Writes `OUT/reply_path.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from perfgate.calibrate import Steps
from perfgate.model import OperatingPoint, Sampling
from perfgate.rig import Rig
from perfgate.serving import command
from perfgate.setting import settle

_TICKS_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure each number of response threads in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--points", nargs="+", default=["fp8-b192-c160"])
    parser.add_argument("--response-threads", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--speed", type=float, default=30.0, help="of the simulated engine")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for threads in options.response_threads:
        command.RESPONSE_THREADS = threads
        for row in measured(options):
            rows.append({"response_threads": threads, "cores": cores()} | row)
            print(rows[-1], flush=True)
    path = options.out / "reply_path.json"
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One server; each point once."""
    with tempfile.TemporaryDirectory() as folder:
        setting = settle(
            Path.cwd(), target="sim", url=None, require_hardware=False, artifacts=Path(folder)
        )
        simulation = dataclasses.replace(
            setting.profile.require_simulation(), step_time_factor=1 / options.speed
        )
        profile = dataclasses.replace(setting.profile, simulation=simulation)
        with Rig(dataclasses.replace(setting, profile=profile), Steps(print)) as rig:
            points = [setting.suite.point(name) for name in options.points]
            return [one(rig, point, options.rounds) for point in points]


def one(rig: Rig, point: OperatingPoint, rounds: int) -> dict[str, Any]:
    """Throughput of the whole path, and what its threads and the client used of a core."""
    sampling = Sampling(rounds=rounds, round_requests=point.workload.concurrency)
    pid = rig.server(point).pid or 0
    before, began = threads_s(pid), time.monotonic()
    measurement = rig.measure(dataclasses.replace(point, sampling=sampling))
    audit = measurement.audit
    assert audit is not None, "our own client audits itself"
    after, wall_s = threads_s(pid), time.monotonic() - began
    used = {name: after[name] - before.get(name, 0.0) for name in after}
    busiest = sorted(used.items(), key=lambda pair: -pair[1])[:12]
    return {
        "point": point.id,
        "tok_s": round(measurement.throughput_tok_s),
        "window_s": measurement.window_s,
        "itl_p50_s": measurement.itl_s.p50 if measurement.itl_s else None,
        "client_cpu_share": audit.cpu_share,
        "client_lag_p99_s": audit.lag_p99_s,
        "messages": audit.messages,
        "wall_s": wall_s,
        "threads_cpu_s": {name: round(seconds, 2) for name, seconds in busiest},
        "vetoes": [veto.rule for veto in measurement.vetoes],
    }


def threads_s(pid: int) -> dict[str, float]:
    """CPU seconds of every thread of the server and its stubs, by process and thread."""
    found = {}
    for process in (pid, *children(pid)):
        for task in Path(f"/proc/{process}/task").iterdir():
            head, _, tail = (task / "stat").read_text().rpartition(")")
            fields = tail.split()
            name = f"{head.partition('(')[2]} {process}/{task.name}"
            found[name] = (int(fields[11]) + int(fields[12])) / _TICKS_S
    return found


def children(pid: int) -> list[int]:
    """The processes that the server started: its Python stubs."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


if __name__ == "__main__":
    main()
