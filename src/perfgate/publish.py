"""From a run's findings to the files under --artifacts: the same for pytest and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from perfgate import artifacts, codec
from perfgate.artifacts import MeasurementsFile, VerdictsFile
from perfgate.exports.openmetrics import openmetrics
from perfgate.hardware import HardwareProfile
from perfgate.measure import metrics
from perfgate.measure.curve import MIN_POINTS
from perfgate.measure.window import steady_window
from perfgate.model import Cell, Measurement, OperatingPoint
from perfgate.records import read_run
from perfgate.report.content import Curve, CurvePoint, EarlierRun, Report
from perfgate.report.html import render_html
from perfgate.report.markdown import render_markdown
from perfgate.report.plots import curve_svg
from perfgate.report.timelines import pick_timelines
from perfgate.report.traced import traced
from perfgate.results import Results


def store(folder: Path, results: Results) -> None:
    """Write measurements.json and verdicts.json."""
    artifacts.save_measurements(
        folder,
        MeasurementsFile(
            run=results.info,
            measurements=results.measurements,
            comparisons=results.comparisons,
            unmeasured=dict(results.unmeasured),
        ),
    )
    artifacts.save_verdicts(
        folder,
        VerdictsFile(
            run=results.info,
            policy=results.policy,
            judgements=results.every_judgement,
        ),
    )


def compose(
    results: Results,
    cells: Mapping[str, Cell],
    profile: HardwareProfile,
    earlier: Sequence[EarlierRun] = (),
) -> Report:
    """The report's content; reads the records for what it shows of single requests."""
    windows = {
        one.point.id: steady_window(read_run(Path(one.records)))
        for one in results.measurements
        if one.records
    }
    return Report(
        info=results.info,
        measurements=results.measurements,
        judgements=results.judgements,
        comparisons=results.compared,
        cells=cells,
        latencies_s={
            point: tuple(metrics.LATENCY.of(window).tolist()) for point, window in windows.items()
        },
        timelines={point: pick_timelines(window.finished) for point, window in windows.items()},
        earlier=tuple(earlier),
        curve=curve(results.measurements, profile),
    )


def render(folder: Path, report: Report) -> None:
    """Write report.html, report.md, perfgate.prom and, where there is a curve, curve.svg."""
    codec.write_atomic(folder / artifacts.REPORT_HTML, render_html(report).encode())
    codec.write_atomic(folder / artifacts.REPORT_MD, render_markdown(report).encode())
    codec.write_atomic(folder / artifacts.OPENMETRICS, openmetrics(report).encode())
    if report.curve is not None:
        codec.write_atomic(folder / artifacts.CURVE, curve_svg(report.curve).encode())


def curve(measurements: Sequence[Measurement], profile: HardwareProfile) -> Curve | None:
    """Throughput and latency over concurrency of the engine measured at most concurrencies.

    None if no engine was measured, without a veto, at three concurrencies of one load.
    """
    swept = _largest_sweep(measurements)
    if len(swept) < MIN_POINTS:
        return None
    points = [
        CurvePoint(one.point.workload.concurrency, one.throughput_tok_s, one.latency_s.p95)
        for one in swept
    ]
    claims = [one.point for one in swept if one.point.claim and one.point.claim.ceiling_p95_s]
    point = max(claims, key=_ceiling, default=swept[0].point)
    return traced(point, points, [one.latency_s.p50 for one in swept], profile)


def _ceiling(point: OperatingPoint) -> float:
    return (point.claim and point.claim.ceiling_p95_s) or 0.0


def _largest_sweep(measurements: Sequence[Measurement]) -> list[Measurement]:
    sweeps: dict[object, dict[int, Measurement]] = {}
    for one in measurements:
        load = one.point.workload
        if not one.vetoes and load.uniform:
            key = (one.point.engine, one.point.serving, load.isl, load.osl)
            sweeps.setdefault(key, {})[load.concurrency] = one
    largest = max(sweeps.values(), key=len, default={})
    return [largest[concurrency] for concurrency in sorted(largest)]
