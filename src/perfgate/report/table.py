"""The run as plain text: one table, the comparisons, then what is wrong and what to do about it.

ASCII wherever perfgate chooses the words, so that any terminal and any log shows it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from perfgate.model import Finding, Judgement, Verdict
from perfgate.report import numbers
from perfgate.report.cells import WORDS, cells
from perfgate.report.content import Report, Row, rows
from perfgate.report.sentences import (
    answer,
    goodput_lines,
    hardware_label,
    headline,
    next_step,
    note_lines,
    telling,
    troubles,
)

COLUMNS = 110
_TITLES = {
    **{name: name for name in ("point", "engine")},
    "concurrency": "conc",
    **{name: name for name in ("tok/s", "floor", "P95", "ceiling", "P95/P50", "verdict")},
}
_WIDEST = {"point": 28, "engine": 16}
_ANSI = {
    Verdict.PASS: "32",
    Verdict.IMPROVEMENT: "36",
    Verdict.REGRESSION: "1;31",
    Verdict.INCONCLUSIVE: "33",
    Verdict.INVALID: "1;35",
    Verdict.UNSTABLE: "33",
}


def render_text(report: Report, *, colour: bool = False) -> str:
    """The whole run in at most 110 columns, ending with a newline.

    Verdicts are words; `colour` adds ANSI colours to them and changes nothing else.
    """
    blocks = [
        [_heading(report)],
        [
            *_table(rows(report)),
            *(line for text in goodput_lines(report.measurements) for line in _wrapped(text)),
            *_comparisons(report.comparisons),
        ],
        *(_trouble(judgement) for judgement in troubles(report)),
        [line for note in note_lines(report.measurements) for line in _wrapped(f"Note: {note}")],
        _wrapped(headline(report)) + _wrapped(next_step(report)),
    ]
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
    return _coloured(text) if colour else text


def _heading(report: Report) -> str:
    info = report.info
    title = f"{hardware_label(info)} ({info.hardware_title}), target {info.target}"
    return _shortened(f"{title}, {numbers.span(info.duration_s)}", COLUMNS)


def _table(table: Sequence[Row]) -> list[str]:
    if not table:
        return ["No operating point was measured."]
    lines = [tuple(_TITLES.values()), *(_cells(row) for row in table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [_line(line, widths) for line in lines]
    return [aligned[0], "-" * max(map(len, aligned)), *aligned[1:]]


def _cells(row: Row) -> tuple[str, ...]:
    texts = cells(row)
    return tuple(_shortened(texts[name], _WIDEST.get(name, COLUMNS)) for name in _TITLES)


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.ljust(width) if name in WORDS else cell.rjust(width)
        for name, cell, width in zip(_TITLES, line, widths, strict=True)
    )
    return "  ".join(aligned).rstrip()


def _comparisons(comparisons: Iterable[Judgement]) -> list[str]:
    lines = []
    for comparison in comparisons:
        line = f"{comparison.point}: {comparison.verdict}. {answer(comparison)}"
        lines += _wrapped(line, indent=2)
    return ["", *lines] if lines else []


def _trouble(judgement: Judgement) -> list[str]:
    lines = [f"{judgement.verdict}  {_shortened(judgement.point, COLUMNS - 14)}"]
    for finding in telling(judgement):
        lines += _finding(finding)
    if judgement.records:
        lines += _wrapped(f"records: {judgement.records}", first=2, indent=4)
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = _wrapped(f"{finding.check}: {finding.message}", first=2, indent=4)
    return lines + (_wrapped(f"-> {finding.advice}", first=4, indent=7) if finding.advice else [])


def _wrapped(text: str, *, first: int = 0, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        COLUMNS,
        initial_indent=" " * first,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = most // 2
    return f"{text[: most - tail - 2]}..{text[-tail:]}"


def _coloured(text: str) -> str:
    words = re.compile(rf"\b({'|'.join(_ANSI)})\b")
    return words.sub(lambda word: f"\x1b[{_ANSI[Verdict(word[0])]}m{word[0]}\x1b[0m", text)
