"""The plugin as its user meets it: outcome, exit code, printed lines, files."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from perfgate import setting
from perfgate.gate import judge
from perfgate.model import Policy, Verdict, Veto
from perfgate.plugin import UnmeasuredError, require
from perfgate.targets import Machine
from tests.unit.factories import a_cell, a_claim, a_measurement
from tests.unit.planted import ROOT, plant_suite, planted_measurement

pytestmark = pytest.mark.unit

LAPTOP = Machine(
    gpu=None, tensorrt_llm=None, trtllm_build=None, tritonserver=None, triton_wheel="0.7.0"
)
BEST = "fp8-b192-c160"


@pytest.fixture
def laptop(monkeypatch):
    """A machine that can run the simulated target and nothing else, without xdist around it."""
    monkeypatch.setattr(setting, "look", lambda: LAPTOP)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def run(pytester, laptop):  # noqa: ARG001 - the machine must be set before pytest runs on it
    """Run a suite of planted measurements with `-m perf` and the options given."""

    def run(*measurements, options=(), **layout):
        plant_suite(pytester.path, *measurements, **layout)
        return pytester.runpytest_inprocess("-m", "perf", *options)

    return run


def measured(point_id=BEST, **numbers):
    """What the rig is to return for a point of the suite."""
    return planted_measurement(ROOT, point_id, **numbers)


def test_a_point_above_its_floor_passes(run):
    """A sound run exits with 0, shows its row and says that it was simulated."""
    result = run(measured(throughput_tok_s=3058))

    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SIMULATED gb10*", "fp8-b192-c160*3058*3000*PASS*"])


def test_a_planted_regression_fails_with_all_a_user_needs(run):
    """A failure names point, got, expected, difference and where the records are."""
    slow = replace(measured(throughput_tok_s=2871), records="")

    result = run(slow)

    result.assert_outcomes(failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*fp8-b192-c160*2871 tok/s is 4.3 % under the floor of 3000*"])


def test_an_unmeasurable_run_is_an_error_and_no_skip(run):
    """A vetoed measurement is an error that gives the veto's reason."""
    veto = Veto(rule="client-lag", message="the load client woke up 90 ms late")

    result = run(replace(measured(throughput_tok_s=2000), vetoes=(veto,)))

    result.assert_outcomes(errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*INVALID*", "*the load client woke up 90 ms late*"])


def test_a_missing_baseline_tells_how_to_make_one(run):
    """Nothing to hold a point against is an error with the command that cures it."""
    result = run(measured(), cells=False)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*perfgate baseline record*"])


def test_a_broken_claim_fails_although_the_baseline_is_missing(run):
    """The loss is a failure, and the missing cell is told beside it."""
    slow = measured(throughput_tok_s=1860)
    claimed = replace(slow, point=replace(slow.point, claim=a_claim()))

    result = run(claimed, cells=False)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1860 tok/s is 38.0 % under the floor of 3000*"])


def test_a_dead_server_is_an_error_with_its_last_words(run, pytester):
    """A point that could not be measured is INVALID in every artefact, never a regression."""
    result = run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Segmentation fault*"])
    verdicts = json.loads((pytester.path / "artifacts/verdicts.json").read_bytes())
    assert [j["verdict"] for j in verdicts["judgements"]] == ["INVALID"]


def test_a_machine_without_the_wheel_is_told_what_to_install(pytester, monkeypatch):
    """A target that cannot run here stops the run before anything is built."""
    monkeypatch.setattr(setting, "look", lambda: replace(LAPTOP, triton_wheel=None))
    plant_suite(pytester.path, measured())

    result = pytester.runpytest_inprocess("-m", "perf")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pip install 'perfgate[[]sim[]]'*"])


def test_required_hardware_is_an_error_on_a_laptop(run):
    """--require-hardware never falls back to the simulated target."""
    result = run(measured(), options=["--require-hardware"])

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nvidia-smi -L*"])


def test_a_check_that_was_not_made_is_no_pass():
    """A baseline that lost its floor does not disarm the test of the floor."""
    held = judge(a_measurement(), a_cell(floor_tok_s=None), Policy())
    assert held.verdict is Verdict.PASS

    with pytest.raises(UnmeasuredError, match="no floor was checked"):
        require(held, "floor")


def test_every_artefact_is_written(run, pytester):
    """A run leaves measurements, verdicts, both reports and JUnit's file."""
    run(measured(), options=["--artifacts", "out"])

    written = {path.name for path in (pytester.path / "out").iterdir()}
    assert written >= {
        "measurements.json",
        "verdicts.json",
        "report.html",
        "report.md",
        "junit.xml",
    }


def test_junit_has_the_numbers_as_properties(run, pytester):
    """Each test case carries its point, verdict and throughput."""
    run(measured(throughput_tok_s=3058))

    properties = {
        one.get("name"): one.get("value")
        for one in ET.parse(pytester.path / "artifacts/junit.xml").iter("property")  # noqa: S314 - ours
    }
    assert properties["perfgate.point"] == BEST
    assert properties["perfgate.verdict"] == "PASS"
    assert properties["perfgate.throughput_tok_s"] == "3058.0"
    assert properties["perfgate.simulated"] == "true"


def test_rounds_reach_pytest_benchmark(run, pytester):
    """--benchmark-json holds one row a point, with its rounds and its throughput."""
    run(measured(throughput_tok_s=3058), options=["--benchmark-json", "bench.json"])

    (row,) = json.loads((pytester.path / "bench.json").read_bytes())["benchmarks"]
    assert row["stats"]["rounds"] == 4
    assert row["extra_info"]["throughput_tok_s"] == 3058


def test_points_of_one_engine_run_together(run):
    """The order of the tests boots each engine once."""
    points = ["fp8-b192-c160", "fp16-b16-c16", "fp8-b192-c128"]
    result = run(*(measured(point) for point in points), options=["-v"])

    order = [
        line.split("[")[1].split("]")[0] for line in result.outlines if "::test_floor[" in line
    ]
    assert list(dict.fromkeys(order)) == ["fp16-b16-c16", "fp8-b192-c160", "fp8-b192-c128"]


def test_a_run_without_perf_tests_needs_no_target(pytester, monkeypatch):
    """Unit tests run on a machine that can run no target, and write no artefacts."""
    monkeypatch.setattr(setting, "look", lambda: replace(LAPTOP, triton_wheel=None))
    plant_suite(pytester.path, tests="def test_nothing():\n    pass\n")

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1)
    assert not (pytester.path / "artifacts").exists()


GROUPS = """
import os, pytest
from pathlib import Path

@pytest.mark.perf
@pytest.mark.parametrize("point", {points}, indirect=True)
def test_where(point, setting):
    note = setting.suite.root / f"ran-{{point.id}}"
    note.write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


@pytest.mark.parametrize(("gpus", "workers"), [(1, 1), (2, 2)], ids=["one GPU", "two GPUs"])
def test_as_many_workers_measure_as_there_are_gpus(pytester, monkeypatch, gpus, workers):
    """`-n 3` on one GPU measures on one worker; with two, engines are shared out among two."""
    points = ["fp16-b16-c16", "fp8-b16-c16", "fp8-b64-c64", "fp8-b192-c160"]
    plant_suite(pytester.path, cells=False, tests=GROUPS.format(points=points))
    conftest = pytester.path / "conftest.py"
    conftest.write_text(
        "import perfgate.setting, perfgate.sharing\n"
        "from tests.unit.test_plugin import LAPTOP\n"
        "perfgate.setting.look = lambda: LAPTOP\n"
        f"perfgate.sharing.gpu_count = lambda target: {gpus}\n" + conftest.read_text()
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    result = pytester.runpytest_subprocess("-m", "perf", "-n", "3", "-p", "no:randomly")

    result.assert_outcomes(passed=4)
    ran = [(pytester.path / f"ran-{point}").read_text() for point in points]
    assert len(set(ran)) == workers


def test_a_base_selects_the_paired_tests_and_its_lack_leaves_them_out(pytester):
    """With --base only paired tests run; without, they are no part of the job."""
    plant_suite(
        pytester.path,
        planted_measurement(ROOT, "fp8-b192-c160"),
        tests=(
            "import pytest\n"
            "pytestmark = pytest.mark.perf\n"
            "def test_pairs(paired): pass\n"
            "def test_other(setting): pass\n"
        ),
    )

    plain = pytester.runpytest("-m", "perf", "--collect-only", "-q")
    paired = pytester.runpytest("-m", "perf", "--collect-only", "-q", "--base", "main")

    plain.stdout.fnmatch_lines(["*::test_other"])
    plain.stdout.no_fnmatch_line("*::test_pairs")
    paired.stdout.fnmatch_lines(["*::test_pairs"])
    paired.stdout.no_fnmatch_line("*::test_other")


PAIRED = """
import pytest
from perfgate import plugin
from perfgate.model import Finding, Judgement, Verdict

pytestmark = pytest.mark.perf

@pytest.fixture
def paired(request):
    finding = Finding(check="paired", verdict=Verdict.{verdict}, message="a loss is proven")
    judged = Judgement(point="paired", verdict=Verdict.{verdict}, findings=(finding,))
    plugin.keep(request.node, judged)
    return judged

def test_pairs(paired, require):
    require(paired, "paired")
"""


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("REGRESSION", "failed"), ("INCONCLUSIVE", "errors"), ("PASS", "passed")],
)
def test_a_paired_verdict_is_told_stored_and_rendered(run, pytester, verdict, outcome):
    """A paired job ends as any other: outcome, verdicts.json, and a report that names it."""
    result = run(options=("--base", "main"), tests=PAIRED.format(verdict=verdict))

    result.assert_outcomes(**{outcome: 1})
    stored = json.loads((pytester.path / "artifacts" / "verdicts.json").read_text())
    assert [(one["point"], one["verdict"]) for one in stored["judgements"]] == [("paired", verdict)]
    assert "paired" in (pytester.path / "artifacts" / "report.md").read_text()
