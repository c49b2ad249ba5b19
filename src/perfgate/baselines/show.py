"""Baselines as a plain text table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from statistics import median

from perfgate.baselines.ledger import given_away
from perfgate.baselines.verify import thin
from perfgate.model import Baseline, Cell

_HEADER = ("point", "floor tok/s", "P95 ceiling s", "runs", "tok/s", "P95 s", "source")
_NOTHING = "-"


def table(baselines: Iterable[Baseline], *, today: date) -> str:
    """One table a baseline: limits, medians of the recorded runs, and what is thin or lowered."""
    return "\n\n".join(
        "\n".join([_table(baseline), *_notes(baseline, today)]) for baseline in baselines
    )


def _notes(baseline: Baseline, today: date) -> list[str]:
    lines = [
        f"  {name} cannot screen: {why}"
        for name, cell in sorted(baseline.cells.items())
        if (why := thin(cell, today))
    ]
    lines += [
        f"  {one.cell} lowered from {one.before_tok_s:g} to {one.floor_tok_s:g} tok/s until "
        f"{one.expires}: {one.reason} ({given_away(baseline, one.cell):.1%} given away in all)"
        for one in baseline.ledger
    ]
    return lines


def _table(baseline: Baseline) -> str:
    title = f"{baseline.hardware}: {baseline.model} {baseline.precision}"
    rows = [_HEADER, *(_row(point, cell) for point, cell in sorted(baseline.cells.items()))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join([title, *(_line(row, widths) for row in rows)])


def _row(point: str, cell: Cell) -> tuple[str, ...]:
    return (
        point,
        _number(cell.floor_tok_s),
        _number(cell.ceiling_p95_s),
        str(len(cell.samples)),
        _number(_median([sample.throughput_tok_s for sample in cell.samples])),
        _number(_median([sample.latency_p95_s for sample in cell.samples])),
        cell.source,
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *numbers, last = row
    middle = [text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *middle, last]).rstrip()


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.5g}"
