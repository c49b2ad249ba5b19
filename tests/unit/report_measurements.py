"""Made-up but realistic measurements for reports: seeded, from a step time and a queue."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np

from perfgate.model import (
    Attribution,
    Claim,
    ClientAudit,
    Distribution,
    EngineSpec,
    Fingerprint,
    Measurement,
    OperatingPoint,
    Phase,
    Precision,
    RequestRecord,
    RequestStatus,
    ResourceUse,
    Sampling,
    ServingSpec,
    Target,
    Workload,
)
from perfgate.report.timelines import pick_timelines

OSL = 128
STEP_S = {Precision.FP16: (0.0495, 0.00017), Precision.FP8: (0.0266, 0.000157)}
POINTS = (
    (Precision.FP16, 16, 16, 300.0, 7.2),
    (Precision.FP8, 16, 16, 500.0, 4.3),
    (Precision.FP8, 64, 64, 1493.0, 5.8),
    (Precision.FP8, 192, 32, None, 4.9),
    (Precision.FP8, 192, 96, None, 6.0),
    (Precision.FP8, 192, 128, None, 6.5),
    (Precision.FP8, 192, 160, 3000.0, 7.0),
    (Precision.FP8, 192, 192, None, 7.7),
)
FINGERPRINT = Fingerprint(
    hardware="gb10-sim",
    target=Target.SIM,
    simulated=True,
    identity={"triton": "2.51.0", "model": "sim-7b", "hardware_profile": "5b1f0c9a77de"},
    context={"host": "runner-2", "kernel": "6.1.0", "cpus": "2", "python": "3.11.2"},
)


def operating_point(precision, batch, concurrency, floor, ceiling):
    """A point of the GB10 plan."""
    engine = EngineSpec(
        model="sim-7b",
        precision=precision,
        max_batch_size=batch,
        max_input_len=1024,
        max_seq_len=2048,
        max_num_tokens=8192,
    )
    return OperatingPoint(
        id=f"{engine.name}-c{concurrency}",
        engine=engine,
        serving=ServingSpec(kv_cache_tokens=200_000),
        workload=Workload(concurrency=concurrency, isl=128, osl=OSL),
        sampling=Sampling(rounds=5, round_requests=2 * concurrency),
        claim=Claim(
            hardware="gb10", floor_tok_s=floor, ceiling_p95_s=ceiling, source="field report"
        ),
    )


def distribution(values: Sequence[float]) -> Distribution:
    """A sample in few numbers, with a P95 from 100 values up and a P99 from 500."""
    p50, p95, p99 = np.quantile(values, [0.5, 0.95, 0.99])
    return Distribution(
        n=len(values),
        mean=statistics.fmean(values),
        minimum=min(values),
        p50=float(p50),
        p95=float(p95) if len(values) >= 100 else None,
        p99=float(p99) if len(values) >= 500 else None,
        maximum=max(values),
    )


def measured(point: OperatingPoint, rng, slower=1.0, vetoes=()):
    """A point's measurement and the latencies behind it."""
    fixed, each = STEP_S[point.engine.precision]
    concurrency = point.workload.concurrency
    running = min(concurrency, point.engine.max_batch_size)
    step = (fixed + each * running) * slower
    requests = 5 * concurrency if concurrency > 16 else 8 * concurrency
    tpot = step * (1 + 0.004 * rng.standard_normal(requests))
    waiting = rng.gamma(2.0, 0.9 * step, requests)
    ttft = step + waiting + (concurrency / running - 1) * step * OSL
    latency = ttft + tpot * (OSL - 1)
    throughput = concurrency * OSL / float(latency.mean())
    rounds = throughput * (1 + 0.006 * rng.standard_normal(5))
    measurement = Measurement(
        point=point,
        fingerprint=dataclasses.replace(
            FINGERPRINT, identity=FINGERPRINT.identity | {"engine": f"{hash_of(point):012x}"}
        ),
        started_at="2026-11-23T15:21:10Z",
        window_s=requests / concurrency * float(latency.mean()),
        requests=requests,
        output_tokens=requests * OSL,
        throughput_tok_s=throughput,
        request_rate_s=throughput / OSL,
        round_tok_s=tuple(float(value) for value in rounds),
        mean_in_flight=concurrency * 0.998,
        latency_s=distribution(latency.tolist()),
        ttft_s=distribution(ttft.tolist()),
        tpot_s=distribution(tpot.tolist()),
        itl_s=distribution((step * (1 + 0.01 * rng.standard_normal(2000))).tolist()),
        audit=ClientAudit(
            cpu_s=0.31 * 40,
            wall_s=40.0,
            messages=requests * OSL,
            lag_p99_s=0.0012,
            lag_max_s=0.0041,
            late_sends=0,
            involuntary_switches=212,
        ),
        resources=ResourceUse(
            samples=200,
            kv_cache_peak=min(1.0, running * 2 * OSL / 60_000),
            active_mean=float(running),
            waiting_mean=float(concurrency - running),
            gpu_utilization_mean=0.97,
        ),
        vetoes=vetoes,
        records=f"records/{point.id}.jsonl.gz",
    )
    measurement = dataclasses.replace(
        measurement, attribution=attribution(ttft.tolist(), latency.tolist(), step)
    )
    return measurement, tuple(float(value) for value in latency)


def attribution(ttft, latency, step: float) -> Attribution:
    """A server on the same host that times every request."""
    mean, first = statistics.fmean(latency), statistics.fmean(ttft)
    outside = {Phase.CLIENT: 0.0002, Phase.WAY_IN: 0.004}
    back = {Phase.POSTPROCESSING: 0.002, Phase.WAY_BACK: 0.001}
    prefill = min(step, first)
    queue = max(first - prefill - 0.0042, 0.0)
    known = outside | {Phase.QUEUE: queue, Phase.PREFILL: prefill} | back
    decode = mean - sum(known.values())
    return Attribution(
        requests=len(latency),
        latency_s=mean,
        decode_steps=OSL - 1,
        phases_s=outside
        | {Phase.QUEUE: queue, Phase.PREFILL: prefill, Phase.DECODE: decode}
        | back,
    )


def timelines(latencies, osl=OSL):
    """Requests of these latencies whose tokens come evenly but for one gap, as a report shows."""
    records = []
    for index, seconds in enumerate(latencies):
        step = round(seconds * 1e9 / (osl + 6))
        late = index % osl
        arrivals = tuple(step * (i + 1 + 5 * (i >= late)) for i in range(osl))
        records.append(
            RequestRecord(
                index=index,
                client=0,
                due_ns=0,
                sent_ns=0,
                finished_ns=arrivals[-1],
                status=RequestStatus.OK,
                arrivals_ns=arrivals,
                tokens=(1,) * osl,
                expected_output_tokens=osl,
            )
        )
    return pick_timelines(records)


def hash_of(point: OperatingPoint) -> int:
    """Stands in for an engine's digest."""
    return sum(ord(letter) * 7919**i for i, letter in enumerate(point.engine.name)) % 16**12
