"""The formats by name, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from perfgate.exports.annotations import github_annotations
from perfgate.exports.bencher import bencher
from perfgate.exports.benchmark_json import benchmark_json
from perfgate.exports.openmetrics import openmetrics
from perfgate.exports.requests import requests_csv, requests_parquet
from perfgate.model import LoadRun
from perfgate.report.content import Report
from perfgate.report.markdown import render_markdown


class Format(StrEnum):
    """What a run can be exported as."""

    ANNOTATIONS = "annotations"
    BENCHER = "bencher"
    CSV = "csv"
    OPENMETRICS = "openmetrics"
    PARQUET = "parquet"
    PYTEST_BENCHMARK = "pytest-benchmark"
    SUMMARY = "summary"


BINARY = frozenset({Format.PARQUET})


@dataclass(frozen=True, kw_only=True)
class Material:
    """What exports are made of; `runs` is called only by a format that needs each request.

    `points_file` and `lines` say where the points stand, for annotations.
    """

    report: Report
    runs: Callable[[], Iterable[LoadRun]]
    points_file: str = "points.toml"
    lines: Mapping[str, int] = field(default_factory=dict)


def export(kind: Format, material: Material) -> bytes:
    """The run in that format; the same run gives the same bytes."""
    return _RENDERERS[kind](material)


_RENDERERS: Mapping[Format, Callable[[Material], bytes]] = {
    Format.ANNOTATIONS: lambda m: github_annotations(
        m.report, file=m.points_file, lines=m.lines
    ).encode(),
    Format.BENCHER: lambda m: bencher(m.report),
    Format.CSV: lambda m: requests_csv(m.runs()).encode(),
    Format.OPENMETRICS: lambda m: openmetrics(m.report).encode(),
    Format.PARQUET: lambda m: requests_parquet(m.runs()),
    Format.PYTEST_BENCHMARK: lambda m: benchmark_json(m.report),
    Format.SUMMARY: lambda m: render_markdown(m.report).encode(),
}
