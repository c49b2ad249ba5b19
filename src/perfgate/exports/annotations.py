"""GitHub workflow commands: an annotation for each point that is no PASS, at its line.

Syntax: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from perfgate.model import Judgement, Verdict
from perfgate.report.content import Report
from perfgate.report.sentences import hardware_label, telling, troubles

LEVELS: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.REGRESSION: "error",
        Verdict.INVALID: "error",
        Verdict.UNSTABLE: "warning",
        Verdict.INCONCLUSIVE: "warning",
        Verdict.IMPROVEMENT: "notice",
    }
)
_ID = re.compile(r'^id\s*=\s*"(?P<id>[^"]+)"', re.MULTILINE)


def github_annotations(report: Report, *, file: str, lines: Mapping[str, int]) -> str:
    """The commands to print in a workflow, the most urgent first; empty if all passed.

    `file` is the path of points.toml from the repository's root, `lines` where each point or
    comparison stands in it.
    """
    return "".join(
        f"{_command(judgement, hardware_label(report.info), file, lines)}\n"
        for judgement in troubles(report)
    )


def lines_of(points_toml: str) -> dict[str, int]:
    """The line of each point and comparison in the text of points.toml, from 1."""
    return {
        match["id"]: points_toml.count("\n", 0, match.start()) + 1
        for match in _ID.finditer(points_toml)
    }


def _command(judgement: Judgement, hardware: str, file: str, lines: Mapping[str, int]) -> str:
    properties = {
        "file": file,
        "line": str(lines.get(judgement.point, 1)),
        "title": f"{judgement.verdict}: {judgement.point} on {hardware}",
    }
    told = [f"{each.message} {each.advice}".strip() for each in telling(judgement)]
    records = [f"Records: {judgement.records}"] if judgement.records else []
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{LEVELS[judgement.verdict]} {named}::{_data(chr(10).join([*told, *records]))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
