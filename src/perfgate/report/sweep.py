"""A sweep for people: a table in the terminal, one HTML page, one drawing an engine."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from perfgate.hardware import HardwareProfile
from perfgate.measure.bands import Band
from perfgate.report import numbers, plots
from perfgate.report.columns import aligned
from perfgate.report.html import both, render_page
from perfgate.report.sentences import SIMULATED_NOTE, hardware_label
from perfgate.sweep.content import EngineSweep, Result, Row, SweepFile
from perfgate.sweep.result import curve_of

COLUMNS = (
    *("concurrency", "tok/s", "band", "of roofline", "P50 s", "P95 s", "band"),
    *("TTFT s", "TPOT ms", "waiting", "KV peak"),
)
_VIRTUAL_NOTE = "No server ran: the simulated engine was stepped in virtual time."
_NONE = "-"
_WIDTH = 106  # the table is as wide


def sweep_text(content: SweepFile) -> str:
    """The sweep for a terminal."""
    return "\n".join(_lines(content)) + "\n"


def sweep_html(content: SweepFile, profile: HardwareProfile) -> str:
    """The sweep as one page that loads nothing."""
    drawn = [(one, one.result) for one in content.engines if one.result]
    return render_page(
        "sweep.html.j2",
        {
            "info": content.run,
            "hardware": hardware_label(content.run),
            "simulated_note": _VIRTUAL_NOTE if is_virtual(content) else SIMULATED_NOTE,
            "names": ", ".join(one.point.engine.name for one in content.engines),
            "columns": COLUMNS,
            "engines": [_engine(one, result, profile) for one, result in drawn],
        },
    )


def sweep_svg(one: EngineSweep, result: Result, profile: HardwareProfile) -> str:
    """The curve of one engine as a file of its own."""
    return plots.curve_svg(curve_of(one.point, result.rows, profile))


def is_virtual(content: SweepFile) -> bool:
    """Whether no server ran."""
    taken = (one for sweep in content.engines for one in sweep.taken)
    return any("clock" in one.measurement.fingerprint.identity for one in taken)


def _engine(one: EngineSweep, result: Result, profile: HardwareProfile) -> dict[str, object]:
    curve = curve_of(one.point, result.rows, profile)
    return {
        "name": one.point.engine.name,
        "sentence": result.sentence,
        "load": _load(one),
        "knee": _knee(result),
        "bands": result.bands,
        "chart": both(lambda width: plots.curve_chart(curve, width=width)),
        "table": [_cells(row) for row in result.rows],
        "notes": list(_notes(one)),
    }


def _lines(content: SweepFile) -> Iterator[str]:
    yield f"{hardware_label(content.run)} ({content.run.hardware_title})"
    if is_virtual(content):
        yield _VIRTUAL_NOTE
    for one in content.engines:
        yield ""
        yield f"{one.point.engine.name}: {_load(one)}"
        if one.result is not None:
            yield from aligned(COLUMNS, [_cells(row) for row in one.result.rows])
            yield ""
            for said in (one.result.sentence, _knee(one.result), one.result.bands):
                yield from wrap(said, _WIDTH, subsequent_indent="  ")
        for note in _notes(one):
            yield from wrap(note, _WIDTH, subsequent_indent="  ")


def _load(one: EngineSweep) -> str:
    load = one.point.workload
    return f"{load.isl} tokens in, {load.osl} out, a closed loop of clients."


def _knee(result: Result) -> str:
    at = "no knee" if result.knee is None else f"the knee is {result.knee}"
    return f"{at[0].upper()}{at[1:]}: {result.knee_reason}."


def _notes(one: EngineSweep) -> Iterator[str]:
    """What was left out, and why nothing more was measured."""
    yield f"Ended: {one.ended or 'interrupted; run the same command again to go on'}."
    replaced = {(taken.concurrency, taken.boot) for taken in one.sound}
    for taken in one.taken:
        vetoes = taken.measurement.vetoes
        if vetoes and (taken.concurrency, taken.boot) not in replaced:
            said = "; ".join(veto.message for veto in vetoes)
            yield f"INVALID {taken.measurement.point.id}: {said}."
    for failed in one.failed:
        yield f"Not measured: concurrency {failed.concurrency}: {failed.reason}."


def _cells(row: Row) -> tuple[str, ...]:
    roof = row.roofline_tok_s
    return (
        str(row.concurrency),
        numbers.tok_s(row.throughput_tok_s),
        _band(row.throughput_band, row.throughput_tok_s),
        f"{row.throughput_tok_s / roof:.0%}" if roof else _NONE,
        f"{row.latency_p50_s:.2f}",
        f"{row.latency_p95_s:.2f}" if row.latency_p95_s is not None else numbers.TOO_FEW,
        _ends(row.latency_p95_band),
        f"{row.ttft_p50_s:.3f}",
        _NONE if row.tpot_p50_s is None else f"{row.tpot_p50_s * 1e3:.1f}",
        _NONE if row.waiting_mean is None else f"{row.waiting_mean:.1f}",
        _NONE if row.kv_cache_peak is None else f"{row.kv_cache_peak:.0%}",
    )


def _band(band: Band | None, middle: float) -> str:
    return _NONE if band is None else f"±{100 * abs(band.high - middle) / middle:.1f} %"


def _ends(band: Band | None) -> str:
    return _NONE if band is None else f"{band.low:.2f}-{band.high:.2f}"
