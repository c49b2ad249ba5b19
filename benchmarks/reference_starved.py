"""A starved batch against a matched one, through Triton, where the reply path is no limit.

    python benchmarks/reference_starved.py OUT --concurrency 24 --starved 8 --matched 32

The reference engine on a fast card outruns the reply path from some 30 streams on, and behind it
the two would look alike. Here both stay below. Writes `OUT/starved.json`: both measurements' main
numbers and what the suite's own comparison says of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from perfgate import codec
from perfgate.calibrate import Steps
from perfgate.gate.comparisons import judge_starved
from perfgate.hardware import load_profile
from perfgate.model import Measurement, OperatingPoint, Sampling, Target
from perfgate.rig import Rig
from perfgate.setting import Setting
from perfgate.suite import load_suite


def main() -> None:
    """Measure both and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--hardware", default="h100")
    parser.add_argument("--like", default="fp16-b16-c16")
    parser.add_argument("--concurrency", type=int, default=24)
    parser.add_argument("--starved", type=int, default=8)
    parser.add_argument("--matched", type=int, default=32)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    suite = load_suite(Path.cwd())
    like = suite.point(options.like)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            suite=suite,
            target=Target.REFERENCE,
            profile=load_profile(Path.cwd() / "hardware" / f"{options.hardware}.toml"),
            artifacts=Path(folder),
        )
        with Rig(setting, Steps(print)) as rig:
            small, matched = (
                rig.measure(sized(like, options.concurrency, batch))
                for batch in (options.starved, options.matched)
            )
        judged = judge_starved(small, matched, suite.policy)
    content = {"points": [row(small), row(matched)], "judgement": json.loads(codec.to_json(judged))}
    path = options.out / "starved.json"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(json.dumps(content), flush=True)


def sized(like: OperatingPoint, concurrency: int, batch: int) -> OperatingPoint:
    """A point like another one, of that batch and concurrency."""
    return dataclasses.replace(
        like,
        id=f"b{batch}-c{concurrency}",
        engine=dataclasses.replace(like.engine, max_batch_size=batch),
        workload=dataclasses.replace(like.workload, concurrency=concurrency),
        sampling=Sampling(rounds=4, round_requests=concurrency, ramp=2),
    )


def row(one: Measurement) -> dict[str, Any]:
    """What is kept of a measurement."""
    assert one.audit is not None, "our own client audits itself"
    return {
        "point": one.point.id,
        "throughput_tok_s": one.throughput_tok_s,
        "round_tok_s": one.round_tok_s,
        "requests": one.requests,
        "latency_p50_s": one.latency_s.p50,
        "latency_p95_s": one.latency_s.p95,
        "ttft_p50_s": one.ttft_s.p50,
        "tpot_p50_s": one.tpot_s.p50 if one.tpot_s else None,
        "audit": dataclasses.asdict(one.audit),
        "vetoes": [veto.message for veto in one.vetoes],
    }


if __name__ == "__main__":
    main()
