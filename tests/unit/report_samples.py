"""Made-up but realistic runs to render: seeded, so that every picture can be drawn again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from perfgate.model import (
    Finding,
    Judgement,
    Measurement,
    Precision,
    ResourceUse,
    RunInfo,
    Target,
    Verdict,
    Veto,
)
from perfgate.report.content import Curve, CurvePoint, EarlierRun, Report, RooflinePoint
from tests.unit.report_measurements import (
    OSL,
    POINTS,
    measured,
    operating_point,
    timelines,
)

INFO = RunInfo(
    target=Target.SIM,
    hardware="gb10",
    hardware_title="NVIDIA GB10, 128 GB unified LPDDR5X",
    simulated=True,
    started_at="2026-11-23T15:20:04Z",
    duration_s=402.0,
    perfgate_version="0.1.0",
    commit="e2e52b5",
    command="pytest -m perf --target sim",
)


def judged(measurement: Measurement, margin=0.0) -> Judgement:
    """Floor and ceiling, compared plainly."""
    point, claim = measurement.point, measurement.point.claim
    findings = []
    if claim.floor_tok_s is not None:
        got, floor = measurement.throughput_tok_s, claim.floor_tok_s
        verdict = Verdict.PASS if got >= floor * (1 - margin) else Verdict.REGRESSION
        findings.append(
            Finding(
                check="floor",
                metric="output token throughput",
                unit="tok/s",
                expected=floor,
                got=got,
                verdict=verdict,
                message=f"output token throughput {got:.0f} tok/s, floor {floor:.0f} tok/s "
                f"({got / floor - 1:+.1%}); n = {measurement.requests}.",
                advice=""
                if verdict is Verdict.PASS
                else "The decode step grew; see the TPOT column. To accept the loss: "
                f"perfgate baseline lower {point.id}",
            )
        )
    p95 = measurement.latency_s.p95
    if p95 is not None:
        verdict = Verdict.PASS if p95 <= claim.ceiling_p95_s else Verdict.REGRESSION
        findings.append(
            Finding(
                check="ceiling",
                metric="request latency P95",
                unit="s",
                expected=claim.ceiling_p95_s,
                got=p95,
                verdict=verdict,
                message=f"request latency P95 {p95:.2f} s, ceiling {claim.ceiling_p95_s:.2f} s "
                f"({p95 / claim.ceiling_p95_s - 1:+.1%}).",
                advice=""
                if verdict is Verdict.PASS
                else "Compare TTFT and TPOT with earlier runs.",
            )
        )
    worst = next((f.verdict for f in findings if f.verdict is not Verdict.PASS), Verdict.PASS)
    return Judgement(
        point=point.id, verdict=worst, findings=tuple(findings), records=measurement.records
    )


def comparisons() -> tuple[Judgement, ...]:
    """The three comparisons between points, all fine."""
    told = {
        "fp8-over-fp16": "FP8 1.68 times FP16 at concurrency 16, at least 1.60 expected.",
        "fmha-on-off": "TPOT differs by 0.3 % (within 2 %); FMHA made TTFT 11 % shorter.",
        "starved-b64-c160": "96 requests queued; throughput capped at 1530 tok/s.",
    }
    return tuple(
        Judgement(
            point=name,
            verdict=Verdict.PASS,
            findings=(Finding(check="comparison", verdict=Verdict.PASS, message=message),),
        )
        for name, message in told.items()
    )


def curve(measurements: Sequence[Measurement], knee: int | None = 128) -> Curve:
    """The FP8 curve at batch 192 with its roofline."""
    on_curve = [m for m in measurements if m.point.engine.max_batch_size == 192]
    points = tuple(
        CurvePoint(m.point.workload.concurrency, m.throughput_tok_s, m.latency_s.p95)
        for m in sorted(on_curve, key=lambda m: m.point.workload.concurrency)
    )
    bound = tuple(
        RooflinePoint(c, c / (0.0247 + 0.000123 * c)) for c in range(8, int(points[-1].load) + 1, 8)
    )
    return Curve(engine="fp8-b192", points=points, knee=knee, ceiling_p95_s=7.0, roofline=bound)


@functools.cache  # drawing the requests takes a tenth of a second, and nearly every test asks
def passing(slower=1.0, points=POINTS) -> Report:
    """The whole plan at full speed: every point passes; `slower` scales the decode step."""
    rng = np.random.default_rng(7)
    pairs = [measured(operating_point(*point), rng, slower) for point in points]
    measurements = tuple(measurement for measurement, _ in pairs)
    return Report(
        info=INFO,
        measurements=measurements,
        judgements=tuple(judged(measurement) for measurement in measurements),
        comparisons=comparisons(),
        latencies_s={m.point.id: latencies for m, latencies in pairs},
        timelines={m.point.id: timelines(latencies) for m, latencies in pairs},
        curve=curve(measurements),
    )


def sweep() -> Report:
    """Twelve concurrencies of one engine, the small ones with too few requests for a P95."""
    steps = (1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 256)
    return passing(points=tuple((Precision.FP8, 192, c, None, 4.0 + c / 48) for c in steps))


def regression() -> Report:
    """A decode step 6 % longer: several points fall below their floors."""
    return passing(slower=1.06)


def compared() -> Report:
    """The regression beside two earlier runs, one of which lacks a point."""
    monday, tuesday = passing(), passing(slower=1.001)
    runs = (("monday", monday.measurements[1:]), ("tuesday", tuesday.measurements))
    return dataclasses.replace(
        regression(),
        earlier=tuple(
            EarlierRun(name=name, info=INFO, measurements=measurements)
            for name, measurements in runs
        ),
    )


MILLION = 1_000_000 // OSL


@functools.cache
def million() -> Report:
    """A point of a million tokens: every request's latency, from which the page must choose."""
    rng = np.random.default_rng(11)
    report = passing(points=POINTS[6:7])
    point = report.measurements[0].point.id
    latencies = tuple((6.6 * (1 + 0.01 * rng.standard_normal(MILLION))).tolist())
    return dataclasses.replace(
        report,
        latencies_s={point: latencies},
        timelines={point: timelines(latencies)},
    )


NOTES = (
    "simulated 2 times slower than real time, and all times divided by 2",
    "measured a second time, as the first was disturbed (client-lag): fp8.disturbed.jsonl.gz",
)


def invalid() -> Report:
    """The client starved at one point, and one point was never measured."""
    report = passing()
    *others, broken = report.measurements
    veto = Veto(rule="client", message="the client used 91 % of a core (at most 70 %)")
    finding = Finding(
        check="client", metric="client CPU share", unit="", expected=0.7, got=0.91,
        verdict=Verdict.INVALID, message=veto.message + ", so its latencies are its own.",
        advice="Give the client a core of its own and run the point again.",
    )  # fmt: skip
    lost = Finding(
        check="server", metric="requests answered", unit="requests", expected=None, got=None,
        verdict=Verdict.INVALID,
        message="tritonserver ended with signal 9 after 31 s; 160 requests were in flight.",
        advice="See artifacts/server.log; was memory short?",
    )  # fmt: skip
    return dataclasses.replace(
        report,
        measurements=(*others, dataclasses.replace(broken, vetoes=(veto,), notes=NOTES)),
        judgements=(
            *report.judgements[:-1],
            Judgement(point=broken.point.id, verdict=Verdict.INVALID, findings=(finding,),
                      records=broken.records),
            Judgement(point="fp8-b192-c256", verdict=Verdict.INVALID, findings=(lost,)),
        ),
    )  # fmt: skip


def single() -> Report:
    """One point with so few requests that it has no P95, no curve and no comparisons."""
    rng = np.random.default_rng(3)
    measurement, latencies = measured(operating_point(Precision.FP8, 192, 4, None, 3.8), rng)
    finding = Finding(
        check="ceiling", metric="request latency P95", unit="s", expected=3.8, got=None,
        verdict=Verdict.INCONCLUSIVE, message="32 requests cannot hold a P95; 100 are needed.",
        advice="Raise round_requests of the point.",
    )  # fmt: skip
    return Report(
        info=INFO,
        measurements=(measurement,),
        judgements=(
            Judgement(point=measurement.point.id, verdict=Verdict.INCONCLUSIVE,
                      findings=(finding,)),
        ),
        latencies_s={measurement.point.id: latencies},
    )  # fmt: skip


def hardware() -> Report:
    """The passing run as real hardware would report it, one point improved, without a curve."""
    report = passing()
    info = dataclasses.replace(INFO, simulated=False, target=Target.TRT_ENGINE)
    better = dataclasses.replace(report.judgements[0], verdict=Verdict.IMPROVEMENT)
    gpu = ResourceUse(
        samples=200, sm_clock_mean_mhz=2411.0, power_mean_w=38.5, temperature_max_c=71.0
    )
    first, *others = report.measurements
    return dataclasses.replace(
        report,
        info=info,
        curve=None,
        measurements=(dataclasses.replace(first, resources=gpu), *others),
        judgements=(better, *report.judgements[1:]),
    )


def empty() -> Report:
    """A run in which nothing was measured."""
    return Report(info=INFO)


HOSTILE = "<script>alert('x')</script> | `a` [b](javascript:c) & @d"


def hostile() -> Report:
    """Text that would break a page or a table if it were not escaped."""
    report = single()
    finding = dataclasses.replace(
        report.judgements[0].findings[0], message=HOSTILE, advice=HOSTILE, check=HOSTILE
    )
    judgement = Judgement(
        point=HOSTILE, verdict=Verdict.INVALID, findings=(finding,), records=HOSTILE
    )
    info = dataclasses.replace(INFO, hardware_title=HOSTILE, command=HOSTILE, commit=HOSTILE)
    return dataclasses.replace(
        report,
        info=info,
        measurements=(dataclasses.replace(report.measurements[0], notes=(HOSTILE,)),),
        judgements=(judgement,),
        comparisons=(judgement,),
    )


ALL = {
    "passing": passing,
    "sweep": sweep,
    "regression": regression,
    "compared": compared,
    "invalid": invalid,
    "single": single,
    "hardware": hardware,
    "empty": empty,
    "hostile": hostile,
}
