"""The console script as its user meets it: what it prints and its exit code."""

import json
import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from perfgate import artifacts, baselines
from perfgate import cli as cli_module
from perfgate.artifacts import MeasurementsFile
from perfgate.exports.formats import Format
from perfgate.measure.measure import measure
from perfgate.records import write_run
from perfgate.suite import load_suite
from tests.unit.factories import a_run_info, a_steady_run
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

POINT = "fp8-b16-c16"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite in a temporary folder, which is where the command is run."""
    for name in ("points.toml", "policy.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "hardware", tmp_path / "hardware")
    monkeypatch.chdir(tmp_path)
    return load_suite(tmp_path)


@pytest.fixture
def finished(suite):
    """A function that stores a finished run of one point, whose tokens come every `gap_ms`."""

    def store(*, gap_ms=31):
        folder = suite.root / "artifacts"
        run = a_steady_run(suite.point(POINT), gap_ms=gap_ms)
        run = replace(run, fingerprint=replace(run.fingerprint, identity={}))
        path = write_run(folder / artifacts.RECORDS, run)
        measured = measure(run, suite.policy, records=str(path))
        content = MeasurementsFile(run=a_run_info(), measurements=(measured,))
        artifacts.save_measurements(folder, content)
        baselines.record_into(
            suite.root / "baselines",
            "gb10-sim",
            suite.points,
            policy=suite.policy,
            session="",
            commit="",
        )

    return store


def perfgate(*words):
    """Run a command line in this process."""
    return CliRunner().invoke(cli_module.app, [str(word) for word in words])


def main(monkeypatch, *words):
    """Run the console script's own entry, which turns errors into exit codes."""
    monkeypatch.setattr("sys.argv", ["perfgate", *words])
    with pytest.raises(SystemExit) as ended:
        cli_module.main()
    return ended.value.code


def test_judge_passes_a_run_above_its_floor(finished):
    """Records above floor and under ceiling: exit code 0 and the verdict in words."""
    finished()

    result = perfgate("judge", "artifacts")

    assert result.exit_code == 0
    assert f"PASS {POINT}" in result.stdout


def test_judge_finds_the_regression_again(finished):
    """Records below the floor: exit code 1, the floor and what was reached."""
    finished(gap_ms=34)

    result = perfgate("judge", "artifacts")

    assert result.exit_code == 1
    assert "under the floor of 500 tok/s" in result.stdout


def test_judge_speaks_json(finished):
    """--json is the judgements and nothing else."""
    finished()

    (judgement,) = json.loads(perfgate("judge", "artifacts", "--json").stdout)

    assert judgement["point"] == POINT
    assert judgement["verdict"] == "PASS"


def test_report_writes_the_pages_anew(finished, suite):
    """The report of a stored run needs its records only."""
    finished()

    result = perfgate("report", "artifacts")

    assert result.exit_code == 0
    assert "SIMULATED" in (suite.root / "artifacts" / "report.html").read_text()
    assert POINT in (suite.root / "artifacts" / "report.md").read_text()


def test_simulate_prints_residuals_within_bounds(suite):
    """Five reference points, each within 5 %, every floor met."""
    assert suite.points

    rows = json.loads(perfgate("simulate", "--json").stdout)["references"]

    assert len(rows) == 5
    assert all(abs(row["residual"]) <= 0.05 for row in rows)
    assert all(row["floor_met"] is not False for row in rows)


def test_a_mistake_is_one_message_and_exit_code_2(suite, monkeypatch, capsys):
    """Wrong usage ends with what was wrong, without a traceback."""
    assert suite.points

    assert main(monkeypatch, "simulate", "--hardware", "gb200") == 2
    assert "gb200" in capsys.readouterr().err


def test_missing_artefacts_are_exit_code_4(suite, monkeypatch, capsys):
    """A folder that holds no run is invalid, not a pass and not wrong usage."""
    assert suite.points

    assert main(monkeypatch, "judge", "nowhere") == 4
    assert "--artifacts" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["simulate"], ["judge"], ["report"], ["doctor"], ["baseline"]], ids=str
)
def test_every_command_explains_itself(words):
    """--help says what a command does; each command has an example."""
    result = perfgate(*words, "--help")

    assert result.exit_code == 0
    assert not words or words == ["baseline"] or "Example: perfgate" in result.stdout


@pytest.mark.parametrize("kind", Format)
def test_export_writes_every_format(finished, tmp_path, kind):
    """Each format is written whole into the named file, and the same to standard output."""
    finished()
    output = tmp_path / "out" / "export"
    told = perfgate("export", kind, "artifacts", "--output", output)
    printed = perfgate("export", kind, "artifacts")

    assert told.exit_code == printed.exit_code == 0, told.output
    assert told.output == ""
    assert output.read_bytes() == printed.stdout_bytes
    assert output.read_bytes() or kind is Format.ANNOTATIONS  # nothing to annotate is fine


def test_export_annotates_the_line_of_the_point(finished, suite):
    """A regression stands where the point is defined, by a path from where the command runs."""
    finished(gap_ms=40)
    printed = perfgate("export", "annotations", "artifacts").stdout
    lines = (suite.root / "points.toml").read_text().splitlines()

    assert f"file=points.toml,line={lines.index(f'id = {chr(34)}{POINT}{chr(34)}') + 1}," in printed
    assert printed.startswith("::error ")


def test_export_refuses_an_unknown_format(monkeypatch, capsys):
    """The known ones are listed, and nothing is read."""
    assert main(monkeypatch, "export", "xml", "artifacts") == 2
    assert "pytest-benchmark" in capsys.readouterr().err


def test_explain_compares_two_stored_runs(finished, suite):
    """Both folders are measured again; the change of each shared point is told."""
    finished(gap_ms=31)
    (suite.root / "artifacts").rename(suite.root / "before")
    finished(gap_ms=40)
    told = perfgate("explain", "before", "artifacts")
    as_json = json.loads(perfgate("explain", "before", "artifacts", "--json").stdout)

    assert told.exit_code == 0
    assert f"{POINT}: request latency 3.97 s -> 5.12 s (+29.0 %)" in told.stdout
    assert "the server timed no request" in told.stdout
    assert as_json[0]["latency_change"] == pytest.approx(40 / 31 - 1)


def test_report_sets_earlier_runs_beside_the_last(finished, suite):
    """The last folder is reported; what changed since the one before it is told and drawn."""
    finished(gap_ms=31)
    (suite.root / "artifacts").rename(suite.root / "monday")
    finished(gap_ms=40)
    told = perfgate("report", "monday", "artifacts")

    assert told.exit_code == 0
    assert f"{POINT}: request latency 3.97 s -> 5.12 s (+29.0 %)" in told.stdout
    page = (suite.root / "artifacts" / "report.html").read_text()
    assert "Against earlier runs" in page
    assert "monday" in page
    assert not (suite.root / "monday" / "report.html").exists()


def test_a_report_of_one_run_compares_nothing(finished, suite):
    """One folder is the whole report, single requests included."""
    finished()
    told = perfgate("report", "artifacts")
    page = (suite.root / "artifacts" / "report.html").read_text()

    assert " -> " not in told.stdout
    assert "Against earlier runs" not in page
    assert "slowest, no." in page
