"""The run as one HTML page that loads nothing: for engineers, on any screen and on paper."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from perfgate.model import Distribution, Judgement, Measurement, Verdict
from perfgate.report import attribution, earlier, numbers, plots, point_charts, timelines
from perfgate.report.cells import COLUMNS, WORDS, cells
from perfgate.report.content import (
    COMPARED,
    NOT_JUDGED,
    Curve,
    Report,
    Row,
    Timeline,
    rows,
)
from perfgate.report.provenance import own_entries, shared_entries
from perfgate.report.resources import resource_table
from perfgate.report.sentences import (
    SIMULATED_NOTE,
    answer,
    described,
    goodput_lines,
    hardware_label,
    headline,
    next_step,
    note_lines,
    telling,
    troubles,
    verdict,
)

Lines = list[tuple[str, ...]]

_SIGNS = {
    Verdict.PASS: "✓",
    Verdict.IMPROVEMENT: "▲",
    Verdict.REGRESSION: "▼",
    Verdict.INCONCLUSIVE: "?",
    Verdict.INVALID: "✕",
    Verdict.UNSTABLE: "≈",
    NOT_JUDGED: "",
    COMPARED: "",
}


def render_html(report: Report) -> str:
    """The whole run as the text of `report.html`; every string of the run is escaped."""
    return render_page("report.html.j2", _view(report))


def render_page(template: str, view: Mapping[str, Any]) -> str:
    """Fill a page's template; what the view lacks is an error, and every string is escaped."""
    environment = Environment(
        loader=PackageLoader("perfgate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["span"] = numbers.span
    return environment.get_template(template).render(view)


def _view(report: Report) -> dict[str, Any]:
    table = rows(report)
    said_of_run = verdict(report)
    return {
        "info": report.info,
        "hardware": hardware_label(report.info),
        "simulated_note": SIMULATED_NOTE,
        "verdict": said_of_run,
        "headline": headline(report),
        "next_step": next_step(report),
        "signs": _SIGNS,
        "columns": COLUMNS,
        "words": WORDS,
        "rows": _rows(table, troubles(report)),
        "comparisons": report.comparisons,
        "goodput": goodput_lines(report.measurements),
        "notes": note_lines(report.measurements),
        "troubles": troubles(report),
        "telling": telling,
        "answer": answer,
        "measurements": report.measurements,
        "checks": _checks((*report.judgements, *report.comparisons)),
        **_curve(report.curve),
        **_charts(report, table),
        **_tables(report),
        **_attribution(report),
        **_earlier(report),
        "requests": _requests(report),
        "timeline_columns": timelines.COLUMNS,
    }


def _rows(table: Sequence[Row], troubled: Sequence[Judgement]) -> list[dict[str, str]]:
    anchors = {judgement: f"finding-{i}" for i, judgement in enumerate(troubled, start=1)}
    return [
        cells(row) | {"anchor": anchors.get(row.judgement, "") if row.judgement else ""}
        for row in table
    ]


def _curve(curve: Curve | None) -> dict[str, Any]:
    if curve is None:
        return {"curve": None}
    bound = dict(curve.roofline)
    table = [
        (
            f"{point.load:g}",
            numbers.tok_s(point.throughput_tok_s),
            numbers.duration_or_words(point.latency_p95_s),
            numbers.tok_s(bound[point.load]) if point.load in bound else "unknown",
        )
        for point in curve.points
    ]
    return {
        "curve": curve,
        "curve_words": described(curve),
        "curve_chart": both(lambda width: plots.curve_chart(curve, width=width)),
        "curve_table": table,
    }


def _charts(report: Report, table: Sequence[Row]) -> dict[str, Any]:
    latencies, measured = report.latencies_s, report.measurements
    return {
        "latency_chart": both(
            lambda width: point_charts.latency_chart(table, latencies, width=width)
        ),
        "phases_chart": both(lambda width: point_charts.phases_chart(measured, width=width)),
        "rounds_chart": both(lambda width: point_charts.rounds_chart(measured, width=width)),
    }


def _attribution(report: Report) -> dict[str, Any]:
    measured = report.measurements
    return {
        "attribution_table": attribution.attribution_table(measured),
        "attribution_notes": attribution.attribution_notes(measured),
        "attribution_columns": attribution.COLUMNS,
        "attribution_chart": both(
            lambda width: attribution.attribution_chart(measured, width=width)
        ),
    }


def _earlier(report: Report) -> dict[str, Any]:
    runs, now = report.earlier, report.measurements
    return {
        "earlier": runs,
        "changes": earlier.changes(runs, now),
        "unchanged": earlier.unchanged(runs, now),
        "earlier_table": earlier.table(runs, now),
        "earlier_columns": earlier.COLUMNS,
        "history_chart": both(lambda width: earlier.history_chart(runs, now, width=width)),
    }


def _requests(report: Report) -> list[dict[str, Any]]:
    """Each point's single requests, drawn and in numbers."""
    return [
        {
            "point": one.point.id,
            "shown": len(shown),
            "of": one.requests,
            "table": timelines.timelines_table(shown),
            "chart": both(functools.partial(_timelines, f"requests-{one.point.id}", shown)),
        }
        for one in report.measurements
        if (shown := report.timelines.get(one.point.id, ()))
    ]


def _timelines(key: str, shown: Sequence[Timeline], width: int) -> Markup:
    return timelines.timelines_chart(key, shown, width=width)


def both(draw: Callable[[int], Markup]) -> tuple[Markup, Markup]:
    """A chart for wide screens and for narrow ones."""
    return draw(plots.WIDE), draw(plots.NARROW)


def _tables(report: Report) -> dict[str, Any]:
    measured = report.measurements
    fingerprints = {m.point.id: m.fingerprint for m in measured}
    names, own = own_entries(fingerprints)
    return {
        "latency_table": [_latency(m) for m in measured],
        "phases_table": [_phases(m) for m in measured],
        "rounds_table": [_rounds(m) for m in measured],
        "validity_table": [_validity(m) for m in measured],
        "resource_table": resource_table(measured),
        "shared": shared_entries(fingerprints),
        "own_names": names,
        "own_table": [(*_origin(m), *own[m.point.id]) for m in measured],
    }


def _latency(measurement: Measurement) -> tuple[str, ...]:
    latency = measurement.latency_s
    times = (latency.minimum, latency.p50, latency.p95, latency.p99, latency.maximum)
    return (measurement.point.id, str(latency.n), *map(numbers.duration_or_words, times))


def _phases(measurement: Measurement) -> tuple[str, ...]:
    ttft = measurement.ttft_s
    times = map(numbers.duration_or_words, (ttft.mean, ttft.p50, ttft.p95))
    tpot, itl = _gaps(measurement.tpot_s), _gaps(measurement.itl_s)
    if measurement.chunk_gap_s is not None:
        itl = tuple(f"chunk gap {text}" for text in _gaps(measurement.chunk_gap_s))
    return (measurement.point.id, *times, *tpot, *itl)


def _gaps(gaps: Distribution | None) -> tuple[str, ...]:
    if gaps is None:
        return ("one token", "one token")
    return (numbers.duration(gaps.p50), numbers.duration_or_words(gaps.p95))


def _rounds(measurement: Measurement) -> tuple[str, ...]:
    spread = point_charts.spread(measurement)
    return (
        measurement.point.id,
        "one round" if spread is None else numbers.share(spread),
        ", ".join(numbers.tok_s(value) for value in measurement.round_tok_s),
    )


def _validity(measurement: Measurement) -> tuple[str, ...]:
    audit = measurement.audit
    return (
        measurement.point.id,
        numbers.significant(measurement.mean_in_flight, 4),
        str(measurement.point.workload.concurrency),
        *(
            ("another tool's",) * 7
            if audit is None
            else (
                numbers.share(audit.cpu_share),
                numbers.duration(audit.lag_p99_s),
                numbers.duration(audit.lag_max_s),
                str(audit.late_sends),
                numbers.share(audit.wait_share),
                numbers.share(audit.stolen_share),
                str(audit.involuntary_switches),
            )
        ),
        "; ".join(veto.message for veto in measurement.vetoes) or "none",
    )


def _origin(measurement: Measurement) -> tuple[str, ...]:
    return (
        measurement.point.id,
        measurement.started_at,
        numbers.duration(measurement.window_s),
        str(measurement.requests),
        str(measurement.output_tokens),
        measurement.records or "none",
    )


def _checks(judgements: Sequence[Judgement]) -> Lines:
    return [
        (
            judgement.point,
            finding.check,
            finding.metric or "-",
            numbers.quantity(finding.expected, finding.unit),
            numbers.quantity(finding.got, finding.unit),
            "-" if finding.margin is None else numbers.share(finding.margin),
            finding.verdict.value,
        )
        for judgement in judgements
        for finding in judgement.findings
    ]
