"""The one function that turns a run into its measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from perfgate.errors import NoSamplesError
from perfgate.measure import metrics
from perfgate.measure.attribution import attribute
from perfgate.measure.distribution import describe
from perfgate.measure.evidence import Evidence
from perfgate.measure.goodput import goodput
from perfgate.measure.resources import resource_use, telemetry_notes
from perfgate.measure.validity import vetoes
from perfgate.measure.window import Window, steady_window
from perfgate.model import (
    Distribution,
    LengthClass,
    LoadRun,
    Measurement,
    PartMeasurement,
    Policy,
)

DRIFT_NOTED = 0.02


def measure(run: LoadRun, policy: Policy, *, records: str = "") -> Measurement:
    """Measure a run over its steady window; `records` says where the run is stored.

    A run that breaks a validity rule is still measured: its vetoes say why not to judge it.

    Raises NoSamplesError if no round was completed or no request ended well.
    """
    window = steady_window(run)
    bundled, gaps = metrics.bundles(window), _optional(window, metrics.ITL)
    parts = measure_parts(window, run.point.workload.mix)
    return Measurement(
        point=run.point,
        fingerprint=run.fingerprint,
        started_at=run.started_at,
        window_s=window.seconds,
        requests=len(window.finished),
        output_tokens=window.tokens_between(window.start_ns, window.end_ns),
        throughput_tok_s=metrics.THROUGHPUT.of(window),
        request_rate_s=metrics.REQUEST_RATE.of(window),
        round_tok_s=round_throughputs(window),
        mean_in_flight=metrics.MEAN_IN_FLIGHT.of(window),
        latency_s=_required(window, metrics.LATENCY, run.point.id),
        ttft_s=_required(window, metrics.TTFT, run.point.id),
        tpot_s=_optional(window, metrics.TPOT),
        itl_s=None if bundled else gaps,
        chunk_gap_s=gaps if bundled else None,
        goodput=goodput(window, run.point.objective),
        audit=run.audit,
        resources=resource_use(run.telemetry, window),
        attribution=attribute(run, window),
        vetoes=vetoes(Evidence(run, window, policy)),
        notes=(
            *part_notes(parts),
            *drift_notes(window),
            *dilation_notes(run),
            *telemetry_notes(run.telemetry),
        ),
        records=records,
        parts=parts,
    )


def measure_parts(window: Window, mix: Sequence[LengthClass]) -> tuple[PartMeasurement, ...]:
    """Measure the parts of a mix one by one: those that ended a request, if there are several."""
    if len(mix) < 2:  # noqa: PLR2004 - the only part is the whole
        return ()
    alone = {
        part.name: replace(
            window, records=tuple(one for one in window.records if one.part == part.name)
        )
        for part in mix
    }
    return tuple(
        PartMeasurement(
            name=name,
            requests=len(part.finished),
            latency_s=_required(part, metrics.LATENCY, name),
            ttft_s=_required(part, metrics.TTFT, name),
            tpot_s=_optional(part, metrics.TPOT),
            itl_s=_optional(part, metrics.ITL),
        )
        for name, part in alone.items()
        if any(record.arrivals_ns for record in part.finished)
    )


def part_notes(parts: Sequence[PartMeasurement]) -> tuple[str, ...]:
    """One sentence on each part of a mix: which requests wait, the short or the long ones."""
    return tuple(
        f"{part.name}: {part.requests} requests, P50 TTFT {part.ttft_s.p50:.3f} s, P50 latency"
        f" {part.latency_s.p50:.2f} s" + _tail(part)
        for part in parts
    )


def _tail(part: PartMeasurement) -> str:
    return "" if part.ttft_s.p95 is None else f", P95 TTFT {part.ttft_s.p95:.3f} s"


def round_throughputs(window: Window) -> tuple[float, ...]:
    """Return each round's output token throughput."""
    return tuple(
        window.tokens_between(start_ns, end_ns) * 1e9 / (end_ns - start_ns)
        for start_ns, end_ns in pairwise(window.marks_ns)
    )


def drift_notes(window: Window) -> tuple[str, ...]:
    """Say so if the second half of the rounds ran faster or slower than the first.

    With an odd number of rounds the middle one belongs to neither half.
    """
    half = (len(window.marks_ns) - 1) // 2
    if not half:
        return ()
    marks_ns = window.marks_ns
    first = window.tokens_between(marks_ns[0], marks_ns[half]) / (marks_ns[half] - marks_ns[0])
    second = window.tokens_between(marks_ns[-1 - half], marks_ns[-1]) / (
        marks_ns[-1] - marks_ns[-1 - half]
    )
    drift = second / first - 1 if first else float("inf")
    if abs(drift) <= DRIFT_NOTED:
        return ()
    return (f"throughput drifted by {drift:+.1%} from the first half of the rounds to the second",)


def dilation_notes(run: LoadRun) -> tuple[str, ...]:
    """Say so if a simulated GPU did not run in real time."""
    if run.time_dilation == 1:
        return ()
    slower = run.time_dilation
    return (f"simulated {slower} times slower than real time, and all times divided by {slower}",)


def _required(
    window: Window, metric: metrics.Metric[NDArray[np.float64]], where: str
) -> Distribution:
    values = metric.of(window)
    if not values.size:
        msg = f"{where}: no request brought a token, so there is no {metric.title}"
        raise NoSamplesError(msg)
    return describe(values, len(window.finished))


def _optional(window: Window, metric: metrics.Metric[NDArray[np.float64]]) -> Distribution | None:
    values = metric.of(window)
    return describe(values, len(window.finished)) if values.size else None
