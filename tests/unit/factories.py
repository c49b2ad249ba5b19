"""Small made-up values of the vocabulary; each argument is what a test is about."""

from __future__ import annotations

from dataclasses import replace

from perfgate.model import (
    Cell,
    Claim,
    ClientAudit,
    Distribution,
    EngineSpec,
    Fingerprint,
    LoadRun,
    Measurement,
    OperatingPoint,
    Precision,
    RequestRecord,
    RequestStatus,
    RunInfo,
    RunSample,
    Sampling,
    ServingSpec,
    Target,
    Workload,
)

SAMPLING = Sampling(rounds=4, round_requests=80)
IDENTITY = {"hardware": "gb10-sim", "target": "sim", "concurrency": "160"}


def a_point(
    point_id="fp8-b192-c160",
    *,
    precision=Precision.FP8,
    max_batch_size=192,
    concurrency=160,
    claim=None,
    gated=True,
    sampling=SAMPLING,
):
    """An operating point; by default the largest of the field report, without its claim."""
    return OperatingPoint(
        id=point_id,
        engine=EngineSpec(
            model="llm-7b",
            precision=precision,
            max_batch_size=max_batch_size,
            max_input_len=1536,
            max_seq_len=2048,
            max_num_tokens=8192,
        ),
        serving=ServingSpec(kv_cache_tokens=65536),
        workload=Workload(concurrency=concurrency, isl=128, osl=128),
        sampling=sampling,
        claim=claim,
        gated=gated,
    )


def a_claim(floor_tok_s=3000.0, ceiling_p95_s=7.0):
    """What the field report says of its best point."""
    return Claim(
        hardware="gb10", floor_tok_s=floor_tok_s, ceiling_p95_s=ceiling_p95_s, source="field report"
    )


def a_fingerprint(hardware="gb10-sim", identity=None):
    """Where a number comes from; hardware that ends in -sim is simulated."""
    simulated = hardware.endswith("-sim")
    return Fingerprint(
        hardware=hardware,
        target=Target.SIM if simulated else Target.TRT_ENGINE,
        simulated=simulated,
        identity=IDENTITY if identity is None else identity,
    )


def an_audit():
    """A load client that kept up."""
    return ClientAudit(
        cpu_s=4.0,
        wall_s=20.0,
        messages=40_000,
        lag_p99_s=0.001,
        lag_max_s=0.002,
        late_sends=0,
        involuntary_switches=3,
    )


def a_distribution(p50, *, p95=None, n=320):
    """A sample around its median."""
    return Distribution(
        n=n, mean=p50, minimum=p50 * 0.9, p50=p50, p95=p95, p99=None, maximum=(p95 or p50) * 1.01
    )


def a_measurement(
    point=None,
    *,
    throughput_tok_s=3030.0,
    p50_s=6.6,
    p95_s=6.8,
    ttft_s=0.4,
    tpot_s=0.05,
    requests=320,
    vetoes=(),
    fingerprint=None,
    started_at="2026-01-02T03:04:05+00:00",
):
    """A sound measurement of a point, by default as the field report has it."""
    point = point or a_point()
    return Measurement(
        point=point,
        fingerprint=fingerprint or a_fingerprint(),
        started_at=started_at,
        window_s=requests * 128 / throughput_tok_s,
        requests=requests,
        output_tokens=requests * 128,
        throughput_tok_s=throughput_tok_s,
        request_rate_s=throughput_tok_s / 128,
        round_tok_s=(throughput_tok_s,) * 4,
        mean_in_flight=float(point.workload.concurrency),
        latency_s=a_distribution(p50_s, p95=p95_s, n=requests),
        ttft_s=a_distribution(ttft_s, n=requests),
        tpot_s=a_distribution(tpot_s, n=requests),
        itl_s=a_distribution(tpot_s, n=requests * 127),
        audit=an_audit(),
        vetoes=vetoes,
        records=f"artifacts/records/{point.id}.jsonl.gz",
    )


def slowed(measurement, factor):
    """The same measurement on a server that takes `factor` times as long for everything."""
    return replace(
        measurement,
        throughput_tok_s=measurement.throughput_tok_s / factor,
        latency_s=_scaled(measurement.latency_s, factor),
        ttft_s=_scaled(measurement.ttft_s, factor),
        tpot_s=_scaled(measurement.tpot_s, factor),
        itl_s=_scaled(measurement.itl_s, factor),
    )


def a_sample(throughput_tok_s=3030.0, latency_p95_s=6.8, **changes):
    """One accepted run of the default point."""
    sample = RunSample(
        session="nightly-1",
        measured_at="2026-01-01T00:00:00+00:00",
        commit="0123456789ab",
        requests=320,
        throughput_tok_s=throughput_tok_s,
        latency_p50_s=6.6,
        latency_p95_s=latency_p95_s,
        ttft_p50_s=0.4,
        tpot_p50_s=0.05,
    )
    return replace(sample, **changes)


def a_cell(floor_tok_s=3000.0, ceiling_p95_s=7.0, samples=None, identity=None):
    """What a baseline expects of the default point."""
    return Cell(
        floor_tok_s=floor_tok_s,
        ceiling_p95_s=ceiling_p95_s,
        source="field report",
        identity=IDENTITY if identity is None else identity,
        samples=(a_sample(),) if samples is None else samples,
    )


def a_record(index=0, *, client=0, sent_ns=0, ttft_ns=100, gap_ns=10, tokens=4, input_tokens=128):
    """A request that went well: its first token after `ttft_ns`, then one every `gap_ns`."""
    arrivals = tuple(sent_ns + ttft_ns + gap_ns * i for i in range(tokens))
    return RequestRecord(
        index=index,
        client=client,
        due_ns=sent_ns,
        sent_ns=sent_ns,
        finished_ns=arrivals[-1],
        status=RequestStatus.OK,
        arrivals_ns=arrivals,
        tokens=(1,) * tokens,
        input_tokens=input_tokens,
        expected_output_tokens=tokens,
    )


def a_load_run(records, *, marks_ns, point=None, faults=()):
    """What a load left behind."""
    return LoadRun(
        point=point or a_point(),
        fingerprint=a_fingerprint(),
        started_at="2026-01-02T03:04:05+00:00",
        marks_ns=tuple(marks_ns),
        records=tuple(records),
        audit=an_audit(),
        faults=tuple(faults),
    )


def a_steady_run(point, *, gap_ms=50):
    """A whole load in perfect steady state: clients take turns, tokens come every `gap_ms`."""
    load, sampling = point.workload, point.sampling
    latency_ns = gap_ms * 1_000_000 * load.osl
    turn_ns = latency_ns // load.concurrency
    requests = (sampling.rounds + 2) * sampling.round_requests + 2 * load.concurrency
    records = [
        a_record(
            index,
            client=index % load.concurrency,
            sent_ns=index * turn_ns,
            ttft_ns=gap_ms * 1_000_000,
            gap_ns=gap_ms * 1_000_000,
            tokens=load.osl,
            input_tokens=load.isl,
        )
        for index in range(requests)
    ]
    start_ns = 2 * latency_ns
    marks = (start_ns + i * sampling.round_requests * turn_ns for i in range(sampling.rounds + 1))
    return a_load_run(records, marks_ns=marks, point=point)


def in_slow_motion(run, factor):
    """The same run with each of the client's times so much later."""
    records = tuple(
        replace(
            record,
            due_ns=record.due_ns * factor,
            sent_ns=record.sent_ns * factor,
            finished_ns=record.finished_ns * factor,
            arrivals_ns=tuple(at * factor for at in record.arrivals_ns),
        )
        for record in run.records
    )
    marks = tuple(mark * factor for mark in run.marks_ns)
    return replace(run, records=records, marks_ns=marks)


def a_run_info():
    """A simulated run."""
    return RunInfo(
        target=Target.SIM,
        hardware="gb10-sim",
        hardware_title="NVIDIA GB10 (simulated)",
        simulated=True,
        started_at="2026-01-02T03:04:05+00:00",
        duration_s=321.0,
        perfgate_version="0.1.0",
        commit="0123456789ab",
        command="pytest -m perf",
    )


def _scaled(distribution, factor):
    p95 = distribution.p95
    return replace(
        distribution,
        mean=distribution.mean * factor,
        minimum=distribution.minimum * factor,
        p50=distribution.p50 * factor,
        p95=None if p95 is None else p95 * factor,
        maximum=distribution.maximum * factor,
    )
