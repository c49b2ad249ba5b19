"""pytest's door: options, order and outcomes. No arithmetic here."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

from perfgate import artifacts
from perfgate.errors import PerfGateError
from perfgate.gate import explain, worst
from perfgate.model import Finding, Judgement, OperatingPoint, Verdict
from perfgate.report.progress import Step
from perfgate.setting import Setting, settle
from perfgate.suite import Suite
from perfgate.summary import Found, Summary, attach
from perfgate.targets import AUTO
from perfgate.terminal import TerminalProgress

MEASURING = ("perf", "sweep", "hardware")


class UnmeasuredError(PerfGateError):
    """A test could not tell whether serving got slower: an error, never a failure or a skip."""


SETTING = pytest.StashKey[Setting]()
FOUND = pytest.StashKey[list[Found]]()
"""What a test has measured and judged, kept on its item until its report takes it along."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the few options; all else is policy in files under review."""
    group = parser.getgroup("perfgate", "performance gate")
    group.addoption(
        "--target",
        default=AUTO,
        help="what stands behind Triton: auto, trt-engine, llmapi, sim, reference or remote "
        "(default: auto = hardware where it is complete, else sim)",
    )
    group.addoption(
        "--base",
        help="pair against this git ref or folder: only the paired tests run, each start afresh",
    )
    group.addoption("--triton-url", help="measure this running server (target remote)")
    group.addoption(
        "--artifacts", default="artifacts", help="folder for records, verdicts and the report"
    )
    group.addoption(
        "--require-hardware",
        action="store_true",
        help="a machine without the hardware is an error, never a simulated run",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name the JUnit file before pytest's own plugin asks for it; gather what reports bring."""
    if _measuring_selected(config) and not config.option.xmlpath:
        config.option.xmlpath = str(_artifacts(config) / artifacts.JUNIT)
    if not hasattr(config, "workerinput"):  # a worker's reports reach the controller
        config.pluginmanager.register(Summary(lambda: setting(config)), "perfgate-summary")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse what cannot run here; put the points of one engine together to boot it once.

    Paired tests need a base, and with one they are the job: their starts are their own.
    """
    base = config.getoption("--base")
    left_out = [item for item in items if _measures(item) and bool(base) != _pairs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    measuring = [item for item in items if _measures(item)]
    if not measuring:
        return
    try:
        suite = setting(config).suite
    except PerfGateError as error:
        raise pytest.UsageError(str(error)) from error
    engines = list(dict.fromkeys(point.engine for point in suite.points))

    def boot_order(item: pytest.Item) -> int:
        point = point_of(item, suite)
        return engines.index(point.engine) if point else len(engines)

    others = [item for item in items if not _measures(item)]
    items[:] = others + sorted(measuring, key=boot_order)
    signal.signal(signal.SIGTERM, _interrupt)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each GPU (or the simulated one) a worker of its own; other runs are xdist's business."""
    if not _measuring_selected(config):
        return None
    from perfgate.sharing import GpuScheduling  # noqa: PLC0415 - xdist need not be installed

    try:
        return GpuScheduling(config, log, setting(config))
    except PerfGateError:
        return None  # the workers find the same, and tell it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn "could not tell" into an error, and send along what was measured."""
    report = yield
    raised = call.excinfo.value if call.excinfo else None
    if isinstance(raised, PerfGateError) and _measures(item):
        report.when = "setup"  # a failed set-up is what pytest calls an error
        report.longrepr = str(raised)
    found = item.stash.get(FOUND, [])
    attach(report, found)
    found.clear()
    return report


def point_of(item: pytest.Item, suite: Suite) -> OperatingPoint | None:
    """The operating point a test is parametrised with, if any."""
    callspec = getattr(item, "callspec", None)
    point_id = callspec.params.get("point") if callspec else None
    return suite.point(point_id) if point_id else None


def terminal_progress(config: pytest.Config, plan: tuple[Step, ...]) -> TerminalProgress:
    """Progress beside pytest's own output: a moving line on a terminal, plain lines in a log."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    terminal = config.get_terminal_writer()
    return TerminalProgress(
        terminal,
        plan,
        width=terminal.fullwidth,
        live=reporter.isatty,
        uncaptured=capture.global_and_fixture_disabled,
        fresh_line=reporter.ensure_newline,
    )


def require(judgement: Judgement, check: str) -> None:
    """Fail the test if the named check found a loss; make it an error if nobody can tell.

    A judgement without such a finding was refused, or had nothing to check against: neither is a
    pass, and all it holds is told.
    """
    findings = [finding for finding in judgement.findings if finding.check == check]
    verdict = worst(finding.verdict for finding in findings)
    if verdict is Verdict.REGRESSION:
        pytest.fail(_told(findings, judgement), pytrace=False)
    if verdict not in {Verdict.PASS, Verdict.IMPROVEMENT}:
        told = _told(findings or judgement.findings, judgement)
        raise UnmeasuredError(told if findings else f"no {check} was checked\n{told}")


def setting(config: pytest.Config) -> Setting:
    """Where this run happens; the first call reads options and files."""
    if SETTING not in config.stash:
        config.stash[SETTING] = settle(
            config.rootpath,
            target=config.getoption("--target"),
            url=config.getoption("--triton-url"),
            require_hardware=config.getoption("--require-hardware"),
            artifacts=_artifacts(config),
        )
    return config.stash[SETTING]


def keep(item: pytest.Item, value: Found) -> None:
    """Send `value` to the run's results with the test's next report."""
    item.stash.setdefault(FOUND, []).append(value)


def _told(findings: Iterable[Finding], judgement: Judgement) -> str:
    return explain(replace(judgement, findings=tuple(findings)))


def _measures(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in MEASURING)


def _pairs(item: pytest.Item) -> bool:
    return "paired" in getattr(item, "fixturenames", ())


def _artifacts(config: pytest.Config) -> Path:
    return Path(config.invocation_params.dir, config.getoption("--artifacts"))


def _measuring_selected(config: pytest.Config) -> bool:
    selected = config.getoption("markexpr") or ""
    return any(mark in selected for mark in MEASURING)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    # As Ctrl-C: fixtures are torn down, so that no server outlives the run.
    raise KeyboardInterrupt
