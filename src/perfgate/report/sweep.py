"""A sweep for people: a table in the terminal, one HTML page, one drawing an engine."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from perfgate.hardware import HardwareProfile
from perfgate.measure.bands import Band
from perfgate.report import numbers, plots
from perfgate.report.columns import aligned
from perfgate.report.content import Curve
from perfgate.report.html import both, render_page
from perfgate.report.sentences import SIMULATED_NOTE, hardware_label
from perfgate.sweep.content import EngineSweep, RateRow, Result, Row, SweepFile, Taken
from perfgate.sweep.rate_result import rate_curve, telling
from perfgate.sweep.result import curve_of

CONCURRENCIES = (
    *("concurrency", "tok/s", "band", "of roofline", "P50 s", "P95 s", "band"),
    *("TTFT s", "TPOT ms", "waiting", "KV peak"),
)
RATES = (
    *("offered/s", "answered/s", "tok/s", "band", "P50 s", "P95 s", "band"),
    *("TTFT s", "P95 s", "in flight", "waiting", "KV peak", "holds"),
)
_VIRTUAL_NOTE = "No server ran: the simulated engine was stepped in virtual time."
_NONE = "-"
_BEHIND = "behind"  # in place of a latency that says how long the run was
_WIDTH = 106  # the table is as wide


def sweep_text(content: SweepFile) -> str:
    """The sweep for a terminal."""
    return "\n".join(_lines(content)) + "\n"


def sweep_html(content: SweepFile, profile: HardwareProfile) -> str:
    """The sweep as one page that loads nothing."""
    drawn = [(one, curve) for one in content.engines if (curve := drawn_curve(one, profile))]
    return render_page(
        "sweep.html.j2",
        {
            "info": content.run,
            "hardware": hardware_label(content.run),
            "simulated_note": _VIRTUAL_NOTE if is_virtual(content) else SIMULATED_NOTE,
            "names": ", ".join(one.point.engine.name for one in content.engines),
            "engines": [_engine(one, curve) for one, curve in drawn],
        },
    )


def drawn_curve(one: EngineSweep, profile: HardwareProfile) -> Curve | None:
    """The curve of an engine's result; None where it has none."""
    if one.offered is not None:
        return rate_curve(one.point, one.offered.rows)
    return curve_of(one.point, one.result.rows, profile) if one.result else None


def is_virtual(content: SweepFile) -> bool:
    """Whether no server ran."""
    taken = (one for sweep in content.engines for one in sweep.taken)
    return any("clock" in one.measurement.fingerprint.identity for one in taken)


def _engine(one: EngineSweep, curve: Curve) -> dict[str, object]:
    columns, table = _table(one)
    sentence, *rest = _said(one)
    return {
        "name": one.point.engine.name,
        "sentence": sentence,
        "load": " ".join([_load(one), *rest[:-1]]),
        "bands": rest[-1],
        "chart": both(lambda width: plots.curve_chart(curve, width=width)),
        "columns": columns,
        "table": table,
        "notes": list(_notes(one)),
    }


def _table(one: EngineSweep) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    if one.offered is not None:
        return RATES, [_rate_cells(row) for row in one.offered.rows]
    return CONCURRENCIES, [_cells(row) for row in one.result.rows] if one.result else []


def _said(one: EngineSweep) -> list[str]:
    """The answer, what else is known of the curve, and what the bands are."""
    if one.offered is not None:
        return [one.offered.sentence, one.offered.bands]
    return [one.result.sentence, _knee(one.result), one.result.bands] if one.result else []


def _lines(content: SweepFile) -> Iterator[str]:
    yield f"{hardware_label(content.run)} ({content.run.hardware_title})"
    if is_virtual(content):
        yield _VIRTUAL_NOTE
    for one in content.engines:
        yield ""
        yield f"{one.point.engine.name}: {_load(one)}"
        if said := _said(one):
            yield from aligned(*_table(one))
            yield ""
            for sentence in said:
                yield from wrap(sentence, _WIDTH, subsequent_indent="  ")
        for note in _notes(one):
            yield from wrap(note, _WIDTH, subsequent_indent="  ")


def _load(one: EngineSweep) -> str:
    load = one.point.workload
    loop = "a closed loop of clients" if load.arrivals is None else "Poisson arrivals"
    return f"{load.isl} tokens in, {load.osl} out, {loop}."


def _knee(result: Result) -> str:
    at = "no knee" if result.knee is None else f"the knee is {result.knee}"
    return f"{at[0].upper()}{at[1:]}: {result.knee_reason}."


def _notes(one: EngineSweep) -> Iterator[str]:
    """What was left out, and why nothing more was measured."""
    yield f"Ended: {one.ended or 'interrupted; run the same command again to go on'}."
    told = one.sound if one.offered is None else telling(one)
    replaced = {_place(taken) for taken in told}
    for taken in one.taken:
        if _place(taken) not in replaced:
            said = "; ".join(veto.message for veto in taken.measurement.vetoes)
            yield f"INVALID {taken.measurement.point.id}: {said}."
    for failed in one.failed:
        rate = failed.requests_per_s
        at = f"concurrency {failed.concurrency}" if rate is None else f"{rate:g} requests/s"
        yield f"Not measured: {at}: {failed.reason}."


def _place(one: Taken) -> tuple[float | None, int, int]:
    return one.requests_per_s, one.concurrency, one.boot


def _cells(row: Row) -> tuple[str, ...]:
    roof = row.roofline_tok_s
    return (
        str(row.concurrency),
        numbers.tok_s(row.throughput_tok_s),
        _band(row.throughput_band, row.throughput_tok_s),
        f"{row.throughput_tok_s / roof:.0%}" if roof else _NONE,
        f"{row.latency_p50_s:.2f}",
        _seconds(row.latency_p95_s, 2),
        _ends(row.latency_p95_band),
        f"{row.ttft_p50_s:.3f}",
        _NONE if row.tpot_p50_s is None else f"{row.tpot_p50_s * 1e3:.1f}",
        _NONE if row.waiting_mean is None else f"{row.waiting_mean:.1f}",
        _NONE if row.kv_cache_peak is None else f"{row.kv_cache_peak:.0%}",
    )


def _rate_cells(row: RateRow) -> tuple[str, ...]:
    return (
        f"{row.requests_per_s:g}",
        f"{row.answered_per_s:.2f}",
        numbers.tok_s(row.throughput_tok_s),
        _band(row.throughput_band, row.throughput_tok_s),
        _BEHIND if row.behind else f"{row.latency_p50_s:.2f}",
        _BEHIND if row.behind else _seconds(row.latency_p95_s, 2),
        _NONE if row.behind else _ends(row.latency_p95_band),
        _BEHIND if row.behind else f"{row.ttft_p50_s:.3f}",
        _BEHIND if row.behind else _seconds(row.ttft_p95_s, 3),
        f"{row.in_flight_mean:.1f}",
        _NONE if row.waiting_mean is None else f"{row.waiting_mean:.1f}",
        _NONE if row.kv_cache_peak is None else f"{row.kv_cache_peak:.0%}",
        "yes" if row.held else "no",
    )


def _seconds(value: float | None, digits: int) -> str:
    return numbers.TOO_FEW if value is None else f"{value:.{digits}f}"


def _band(band: Band | None, middle: float) -> str:
    return _NONE if band is None else f"±{100 * abs(band.high - middle) / middle:.1f} %"


def _ends(band: Band | None) -> str:
    return _NONE if band is None else f"{band.low:.2f}-{band.high:.2f}"
