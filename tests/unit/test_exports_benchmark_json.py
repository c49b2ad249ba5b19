"""pytest-benchmark's JSON, read by pytest-benchmark itself."""

import json
import statistics
import subprocess
import sys

import pytest

from perfgate.errors import NoSamplesError
from perfgate.exports.benchmark_json import benchmark_json
from tests.unit import report_samples as samples

pytestmark = pytest.mark.unit


def test_pytest_benchmark_compares_two_exports(tmp_path):
    """`pytest-benchmark compare` prints each point of both files, with its own statistics."""
    report = samples.passing()
    for name in ("0001_before.json", "0002_after.json"):
        (tmp_path / name).write_bytes(benchmark_json(report))
    printed = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", *sorted(tmp_path.glob("*.json"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    for measurement in report.measurements:
        lines = [line for line in printed.splitlines() if line.startswith(measurement.point.id)]
        assert len(lines) == 2, printed


def test_rounds_are_the_requests():
    """Each request of the window is one round; mean and median are theirs."""
    report = samples.passing()
    one = report.measurements[0]
    latencies = report.latencies_s[one.point.id]
    first = json.loads(benchmark_json(report))["benchmarks"][0]

    assert first["name"] == one.point.id
    assert first["stats"]["data"] == list(latencies)
    assert first["stats"]["rounds"] == len(latencies)
    assert first["stats"]["mean"] == pytest.approx(statistics.mean(latencies))
    assert first["stats"]["median"] == pytest.approx(statistics.median(latencies))


def test_a_run_without_records_is_refused():
    """An empty file would compare equal to everything."""
    with pytest.raises(NoSamplesError, match="no point has records"):
        benchmark_json(samples.empty())
