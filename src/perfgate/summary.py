"""What a pytest run has found: gathered from its reports, written as artefacts, printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from perfgate import baselines, codec
from perfgate.artifacts import REPORT_HTML
from perfgate.gate import unmeasured
from perfgate.model import Cell, Judgement, Measurement
from perfgate.provenance import wall_clock
from perfgate.publish import compose, render, store
from perfgate.report.content import Report
from perfgate.report.table import render_text
from perfgate.results import Results
from perfgate.run_info import run_info
from perfgate.setting import BASELINES, Setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """A point that should have been measured and could not be, with the reason."""

    point: str
    reason: str


Found = Measurement | Judgement | Unmeasured
_KINDS: dict[str, type[Found]] = {
    kind.__name__: kind for kind in (Measurement, Judgement, Unmeasured)
}
_ATTRIBUTE = "perfgate"


def attach(report: pytest.TestReport, values: Iterable[Found]) -> None:
    """Let values travel with a report, also from an xdist worker to its controller."""
    told = [(type(value).__name__, codec.to_json(value).decode()) for value in values]
    setattr(report, _ATTRIBUTE, told)


def detach(report: pytest.TestReport) -> list[Found]:
    """What `attach` put on the report."""
    told = getattr(report, _ATTRIBUTE, [])
    return [codec.from_json(text.encode(), _KINDS[kind], origin="report") for kind, text in told]


class Summary:
    """The plugin object of one run: keeps what reports bring, then writes and prints it.

    `settle` reads options and files when there is something to write; a run without measurements
    never needs them.
    """

    def __init__(self, settle: Callable[[], Setting]) -> None:
        self._settle = settle
        self._started_at = wall_clock()
        self._started = time.monotonic()
        self._found: dict[tuple[type[Found], str], Found] = {}
        self._report: Report | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a report brought; under xdist this runs in the controller."""
        for value in detach(report):
            point = value.point.id if isinstance(value, Measurement) else value.point
            self._found[type(value), point] = value

    def pytest_sessionfinish(self) -> None:
        """Write the artefacts, of an interrupted run as well."""
        if not self._found:
            return
        setting = self._settle()
        results = self._results(setting)
        store(setting.artifacts, results)
        self._report = compose(results, self._cells(setting), setting.profile)
        render(setting.artifacts, self._report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self._report is None:
            return
        terminalreporter.section("performance")
        terminalreporter.write(render_text(self._report, colour=terminalreporter.hasmarkup))
        terminalreporter.write_line(f"Report: {self._settle().artifacts / REPORT_HTML}")

    def _results(self, setting: Setting) -> Results:
        judgements = self._all(Judgement)
        missing = {one.point: one.reason for one in self._all(Unmeasured)}
        comparisons = {one.id: one for one in setting.suite.comparisons}
        return Results(
            info=run_info(
                setting,
                started_at=self._started_at,
                duration_s=time.monotonic() - self._started,
            ),
            policy=setting.suite.policy,
            measurements=self._all(Measurement),
            judgements=(
                *(one for one in judgements if one.point not in comparisons),
                *(unmeasured(point, reason) for point, reason in missing.items()),
            ),
            comparisons=tuple(comparisons[j.point] for j in judgements if j.point in comparisons),
            compared=tuple(one for one in judgements if one.point in comparisons),
            unmeasured=missing,
        )

    def _cells(self, setting: Setting) -> dict[str, Cell]:
        root = setting.suite.root / BASELINES
        return baselines.cells(root, setting.hardware, setting.suite.points)

    def _all(self, kind: type[T]) -> tuple[T, ...]:
        return tuple(value for value in self._found.values() if isinstance(value, kind))
