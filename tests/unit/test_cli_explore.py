"""`perfgate explore` as its user meets it."""

import json
import shutil

import jsonschema
import pytest
from typer.testing import CliRunner

from perfgate import artifacts
from perfgate import cli as cli_module
from perfgate.errors import UsageError
from perfgate.explore import findings
from perfgate.sim.report import simulate_point
from perfgate.suite import load_suite
from tests.unit.planted import ROOT
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

SHORT = """
[[points]]
id = "short"
engine = "fp8-b16"
concurrency = 4
isl = 16
osl = 8
round_requests = 15
"""


FEW = "--candidates 2 --confirm 0"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """This project's suite with one point of short requests, in a folder of its own."""
    points = (ROOT / "points.toml").read_text(encoding="utf-8")
    (tmp_path / "points.toml").write_text(points + SHORT, encoding="utf-8")
    shutil.copy(ROOT / "policy.toml", tmp_path / "policy.toml")
    shutil.copytree(ROOT / "hardware", tmp_path / "hardware")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("perfgate.targets.lacks", lambda *_, **__: ())  # no server is asked for
    return tmp_path


def perfgate(*words):
    """Run `perfgate explore` on the simulated target in this process."""
    return CliRunner().invoke(cli_module.app, ["explore", "--target", "sim", *words])


def test_an_exploration_leaves_all_its_files(suite):
    """explore.json by its schema, page and picture, and a fragment that keeps its promise."""
    told = perfgate(*f"--point short --ceiling 0.3 {FEW} --output out".split())

    assert told.exit_code == 0, told.output
    assert "tok/s under a P95 of 300 ms" in told.stdout
    out = suite / "out"
    stored = json.loads((out / findings.EXPLORE).read_text(encoding="utf-8"))
    jsonschema.validate(stored, json.loads(artifacts.schemas()["explore.schema.json"]))
    found = findings.load(out / findings.EXPLORE)
    assert "<svg" in (out / findings.SVG).read_text(encoding="utf-8")
    assert "<html" in (out / findings.HTML).read_text(encoding="utf-8")

    points = suite / "points.toml"
    fragment = (out / findings.POINTS).read_text(encoding="utf-8")
    with points.open("a", encoding="utf-8") as file:
        file.write(f"\n{fragment}")
    point = load_suite(suite).point(f"explored-{found.best_point.id}")
    steady = simulate_point(gb10(), point)
    assert steady.throughput_tok_s == found.best_outcome.throughput_tok_s
    assert steady.latency_p95_s == found.best_outcome.latency_p95_s


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("--point nothing", "point"),
        ("--point short", "--ceiling"),
        ("--point fp8-b64-poisson --ceiling 9", "--point"),
        ("--point short --ceiling 0", "--ceiling"),
        ("--point short --ceiling nan", "--ceiling"),
        ("--point short --ceiling 1 --minutes -1", "--minutes"),
        ("--point short --ceiling 1 --candidates 0", "--candidates"),
        ("--point short --ceiling 1 --confirm -1", "--confirm"),
        ("--point short --ceiling 1 --seed -1", "--seed"),
    ],
)
def test_a_wrong_word_is_named_before_anything_runs(suite, words, field):
    """Field and rule are told, and no folder is made."""
    told = perfgate(*words.split(), "--output", "out")

    assert isinstance(told.exception, UsageError)
    assert told.exception.field == field
    assert not (suite / "out").exists()


@pytest.mark.usefixtures("suite")
def test_ctrl_c_says_that_nothing_is_lost(monkeypatch):
    """The journal stays, and the way to go on is told."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("perfgate.cli.explore.explore", interrupted)
    told = perfgate(*["--point", "short", "--ceiling", "0.3", "--output", "out"])

    assert told.exit_code == 130
    assert "the same command goes on in out" in told.output
