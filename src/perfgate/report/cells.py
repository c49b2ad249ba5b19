"""One row of the run's table as words, so that terminal, Markdown and HTML say the same."""

from __future__ import annotations

from perfgate.report import numbers
from perfgate.report.content import Row

COLUMNS = (
    *("point", "engine", "concurrency", "tok/s", "floor", "vs floor"),
    *("P95", "ceiling", "vs ceiling", "P95/P50", "verdict"),
)
WORDS = frozenset({"point", "engine", "verdict"})
"""The columns that hold words and are set flush left; the others hold numbers."""

NONE = "none"
ABSENT = "-"


def cells(row: Row) -> dict[str, str]:
    """Each column's text; what is missing is a word or a dash, never a zero."""
    expected = {
        "floor": NONE if row.floor_tok_s is None else numbers.tok_s(row.floor_tok_s),
        "ceiling": numbers.duration_or_words(row.ceiling_p95_s, NONE),
    }
    said = {"point": row.point, "verdict": row.verdict}
    return dict.fromkeys(COLUMNS, ABSENT) | _measured(row) | expected | said


def _measured(row: Row) -> dict[str, str]:
    if row.measurement is None:
        return {"engine": "not measured"}
    point = row.measurement.point
    return {
        "engine": point.engine.name,
        "concurrency": str(point.workload.concurrency),
        "tok/s": numbers.tok_s(row.measurement.throughput_tok_s),
        "vs floor": ABSENT if row.over_floor is None else numbers.change(row.over_floor),
        "P95": numbers.duration_or_words(row.p95_s),
        "vs ceiling": ABSENT if row.over_ceiling is None else numbers.change(row.over_ceiling),
        "P95/P50": ABSENT if row.p95_over_p50 is None else numbers.ratio(row.p95_over_p50),
    }
