"""The run as GitHub Markdown, fit for a CI job summary."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from perfgate.model import Finding, Judgement, Verdict
from perfgate.report import numbers
from perfgate.report.cells import COLUMNS, WORDS, cells
from perfgate.report.content import Report, Row, rows
from perfgate.report.resources import resource_table
from perfgate.report.sentences import (
    SIMULATED_NOTE,
    answer,
    goodput_lines,
    hardware_label,
    headline,
    next_step,
    note_lines,
    telling,
    troubles,
    verdict,
)

_SIGN = {
    Verdict.PASS: "✅",
    Verdict.IMPROVEMENT: "🔼",
    Verdict.REGRESSION: "❌",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.INVALID: "🚫",
    Verdict.UNSTABLE: "⚠️",
}
_ARTEFACTS = (
    ("report.html", "charts and distributions, one file"),
    ("measurements.json", "every number"),
    ("verdicts.json", "every finding"),
    ("records/", "each request, to judge again"),
)


def render_markdown(report: Report) -> str:
    """The whole run for a job summary: headline, table, comparisons, findings, provenance."""
    blocks = [
        [f"## {_sign(verdict(report))}Performance: {_escaped(hardware_label(report.info))}"],
        _simulated(report),
        [f"**{_escaped(headline(report))}** {next_step(report)}"],
        _table(rows(report)),
        [f"- {_escaped(text)}" for text in goodput_lines(report.measurements)],
        _comparisons(report.comparisons),
        _resources(report),
        *(_trouble(judgement) for judgement in troubles(report)),
        [f"- {_escaped(note)}" for note in note_lines(report.measurements)],
        [_provenance(report)],
        [f"Artefacts: {', '.join(f'`{name}` ({what})' for name, what in _ARTEFACTS)}."],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _simulated(report: Report) -> list[str]:
    if not report.info.simulated:
        return []
    return ["> [!NOTE]", f"> {_escaped(hardware_label(report.info))}. {SIMULATED_NOTE}"]


def _table(table: Sequence[Row]) -> list[str]:
    if not table:
        return ["No operating point was measured."]
    rule = ("---" if name in WORDS else "---:" for name in COLUMNS)
    return [_line(COLUMNS), _line(rule), *(_line(_cells(row)) for row in table)]


def _line(line: Iterable[str]) -> str:
    return f"| {' | '.join(line)} |"


def _cells(row: Row) -> tuple[str, ...]:
    sign = "" if row.judgement is None else _sign(row.judgement.verdict)
    texts = cells(row)
    return (*(_escaped(texts[name]) for name in COLUMNS[:-1]), sign + texts["verdict"])


def _resources(report: Report) -> list[str]:
    titles, lines = resource_table(report.measurements)
    if not lines:
        return []
    rule = ("---" if title == titles[0] else "---:" for title in titles)
    folded = ["<details><summary>Server and GPU over the steady window</summary>", ""]
    table = [_line(titles), _line(rule), *(_line(map(_escaped, line)) for line in lines)]
    return [*folded, *table, "", "</details>"]


def _comparisons(comparisons: Iterable[Judgement]) -> list[str]:
    return [
        f"- {_escaped(comparison.point)}: {_sign(comparison.verdict)}{comparison.verdict}. "
        + _escaped(answer(comparison))
        for comparison in comparisons
    ]


def _trouble(judgement: Judgement) -> list[str]:
    lines = [f"### {_sign(judgement.verdict)}{judgement.verdict}: {_escaped(judgement.point)}", ""]
    lines += [_finding(finding) for finding in telling(judgement)]
    return lines + ([f"- Records: {_escaped(judgement.records)}"] if judgement.records else [])


def _finding(finding: Finding) -> str:
    advice = f" *{_escaped(finding.advice)}*" if finding.advice else ""
    return f"- **{_escaped(finding.check)}**: {_escaped(finding.message)}{advice}"


def _provenance(report: Report) -> str:
    info = report.info
    return (
        f"perfgate {_escaped(info.perfgate_version)}, commit {_escaped(info.commit)}, target "
        f"{info.target}, {_escaped(info.hardware_title)}, started {_escaped(info.started_at)}, "
        f"took {numbers.span(info.duration_s)}: {_escaped(info.command)}"
    )


def _sign(verdict: Verdict | None) -> str:
    return "" if verdict is None else f"{_SIGN[verdict]} "


def _escaped(text: str) -> str:
    # Names and messages are data: no tag, link, table cell or mention may come of them.
    one_line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|@#~])", r"\\\1", one_line)
