"""`perfgate sweep` as its user meets it, in virtual time."""

import json
import shutil
import sys

import pytest
from typer.testing import CliRunner

from perfgate import artifacts
from perfgate import cli as cli_module
from perfgate.errors import ServerError
from perfgate.mock_server import MockServer, Script
from perfgate.sweep.virtual_rig import VirtualRig
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

FEW = ("--concurrency", "16,64,128,160,192,256")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A suite in a temporary folder, which is where the command is run."""
    for name in ("points.toml", "policy.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "hardware", tmp_path / "hardware")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("perfgate.targets.lacks", lambda *_, **__: ())
    return tmp_path


def sweep(*words, engine="fp8-b192"):
    """Run the command in this process."""
    line = ["sweep", "--simulate", "--engine", engine, "--output", "out", *words]
    return CliRunner().invoke(cli_module.app, line)


def refused(monkeypatch, capsys, *words):
    """What a user's mistake is answered with."""
    monkeypatch.setattr("sys.argv", ["perfgate", "sweep", "--output", "out", *words])
    with pytest.raises(SystemExit) as ended:
        cli_module.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_field_reports_curve_is_reproduced(folder):
    """Knee within 128-160, 3000 tok/s there under 7 s, and 192 is over the ceiling."""
    result = sweep("--json", *FEW)
    (one,) = json.loads(result.stdout)
    rows = {row["concurrency"]: row for row in one["result"]["rows"]}

    assert 128 <= one["result"]["knee"] <= 160
    assert rows[160]["throughput_tok_s"] >= 3000
    assert rows[160]["latency_p95_s"] < 7.0 < rows[192]["latency_p95_s"]
    assert one["result"]["operating_range"]["high"] == 160
    assert one["result"]["operating_range"]["limit"] == "memory bandwidth"
    assert (folder / "out" / artifacts.SWEEP_HTML).exists()
    assert (folder / "out" / artifacts.CURVE).exists()
    assert len(list((folder / "out" / artifacts.RECORDS).iterdir())) == 6


@pytest.mark.parametrize(
    ("engine", "concurrency", "floor"),
    [("fp16-b16", 16, 300), ("fp8-b16", 16, 500), ("fp8-b64", 64, 1493)],
)
def test_each_phases_floor_is_met_at_its_knee(folder, engine, concurrency, floor):
    """The report's phases: the knee is the batch size, and beyond it the batch is full."""
    words = [str(c) for c in (concurrency // 2, concurrency, 3 * concurrency // 2)]
    (one,) = json.loads(sweep("--json", "--concurrency", ",".join(words), engine=engine).stdout)
    rows = {row["concurrency"]: row for row in one["result"]["rows"]}

    assert folder
    assert one["result"]["knee"] == concurrency
    assert rows[concurrency]["throughput_tok_s"] >= floor
    assert one["result"]["operating_range"]["limit"] == "batch full"


def test_the_same_command_goes_on_and_a_longer_list_adds_to_it(folder, monkeypatch):
    """Measured points are taken from the folder, though the command was ended in between."""
    asked = []
    measure = VirtualRig.measure

    def counted(rig, point):
        asked.append(point.workload.concurrency)
        if point.workload.concurrency == 64 and asked.count(64) == 1:
            raise KeyboardInterrupt
        return measure(rig, point)

    monkeypatch.setattr(VirtualRig, "measure", counted)
    first = sweep("--concurrency", "8,16,64")
    second = sweep("--concurrency", "8,16,64,128")

    assert folder
    assert first.exit_code == 130
    assert "interrupted; run the same command again" in first.stdout
    assert second.exit_code == 0
    assert asked == [8, 16, 64, 64, 128]


def test_a_folder_of_something_else_is_refused_field_by_field(folder, monkeypatch, capsys):
    """Another GPU model in the profile: the difference is named, nothing is overwritten."""
    sweep("--concurrency", "8,16,64")
    before = (folder / "out" / artifacts.SWEEP).read_bytes()
    profile = folder / "hardware" / "gb10.toml"
    profile.write_text(
        profile.read_text().replace("step_time_factor = 1.0", "step_time_factor = 1.1")
    )
    points = folder / "points.toml"
    points.write_text(
        points.read_text().replace("kv_cache_tokens = 65536", "kv_cache_tokens = 32768")
    )

    told = refused(monkeypatch, capsys, "--simulate", "--engine", "fp8-b192")

    assert "serving.kv_cache_tokens is 65536 there, 32768 here" in told
    assert "profile is" in told
    assert "Name a new folder" in told
    assert (folder / "out" / artifacts.SWEEP).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--engine", "fp4-b8"), "--engine: got 'fp4-b8', but it must be one of fp16-b16"),
        (("--engine", "fp8-b64-t512"), "--engine: got 'fp8-b64-t512', but it must be one of"),
        (("--engine", "fp8-b16", "--concurrency", "8,x"), "whole numbers with commas"),
        (("--engine", "fp8-b16", "--concurrency", "0"), "it must be at least 1"),
        (("--engine", "fp8-b16", "--minutes", "0"), "--minutes: got 0.0"),
        (("--engine", "fp8-b16", "--rate", "4;8"), "numbers with commas between, as 4,8,16"),
        (("--engine", "fp8-b16", "--rate", "0"), "--rate: got 0.0, but it must be above 0"),
        (("--engine", "fp8-b16", "--rate", "4", "--boots", "2"), "on one server start"),
        (("--engine", "fp8-b16", "--rate", "4", "--concurrency", "8"), "give one of them"),
        (("--engine", "fp8-b16", "--rate", "4", "--minutes", "0"), "--minutes: got 0.0"),
        (("--engine", "fp8-b16", "--target", "llmapi"), "virtual time"),
        (("--engine", "fp8-b16", "--triton-url", "grpc://x:1"), "needs no server"),
        (("--engine", "fp8-b16", "--p95-ceiling", "-1"), "it must be above 0"),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(folder, monkeypatch, capsys, words, told):
    """Field, value and rule; no folder is made."""
    assert told in refused(monkeypatch, capsys, "--simulate", *words)
    assert not (folder / "out").exists()


def test_rates_are_offered_up_to_the_highest_that_holds(folder):
    """In virtual time: below the closed loop's 3000 tok/s, for arrivals come unevenly."""
    (one,) = json.loads(sweep("--json", "--rate", "16,20,24,32").stdout)
    rows = {row["requests_per_s"]: row for row in one["result"]["rows"]}

    assert one["result"]["highest"] == 20
    assert rows[20]["latency_p95_s"] < 7.0 < rows[24]["latency_p95_s"]
    assert rows[32]["behind"]
    assert not rows[24]["behind"]
    assert "Poisson arrivals" in (folder / "out" / artifacts.SWEEP_HTML).read_text()
    assert (folder / "out" / artifacts.CURVE).exists()


def test_a_folder_of_a_closed_loop_takes_no_rates(folder, monkeypatch, capsys):
    """A curve of both would be a curve of neither."""
    sweep("--concurrency", "8,16,64")
    told = refused(monkeypatch, capsys, "--simulate", "--engine", "fp8-b192", "--rate", "4")

    assert folder
    assert "workload.arrivals is None there" in told


def test_engines_of_one_folder_are_shown_side_by_side(folder):
    """A later command for another engine adds to the page."""
    sweep("--concurrency", "8,16,32", engine="fp8-b16")
    result = sweep("--concurrency", "8,16,32", engine="fp16-b16")
    page = (folder / "out" / artifacts.SWEEP_HTML).read_text()

    assert result.exit_code == 0
    assert "fp16-b16" in page
    assert "fp8-b16" in page
    assert (folder / "out" / "curve-fp8-b16.svg").exists()


def test_an_engine_that_cannot_be_served_leaves_the_others_on_the_page(folder, monkeypatch):
    """The first engine's curve is there, though the second ended in an error."""
    measure = VirtualRig.measure

    def broken(rig, point):
        if point.engine.name == "fp16-b16":
            raise ServerError("Triton died")
        return measure(rig, point)

    monkeypatch.setattr(VirtualRig, "measure", broken)
    result = sweep("--engine", "fp16-b16", "--concurrency", "8,16,24", engine="fp8-b16")

    assert str(result.exception) == "Triton died"
    assert "fp8-b16" in (folder / "out" / artifacts.SWEEP_HTML).read_text()


def test_virtual_minutes_are_what_is_budgeted(folder):
    """The sweep in seconds plans as the one behind a server would: it stops where that would."""
    assert folder
    result = sweep("--minutes", "2", "--json")

    (one,) = json.loads(result.stdout)
    assert "the budget of 2 min is spent" in one["ended"]


TOOL = """#!{python}
import json, pathlib, sys
asked = dict(zip(sys.argv[2::2], sys.argv[3::2]))
clients, osl = int(asked["--concurrency"]), int(asked["--output-tokens-mean"])
rows = []
for number in range(int(asked["--request-count"])):
    sent = number // clients * (osl + 1) * 10_000_000
    rows.append({{
        "timestamp": sent,
        "request_inputs": {{"text_input": "x"}},
        "response_timestamps": [sent + (place + 1) * 10_000_000 for place in range(osl + 1)],
        "response_outputs": [{{"text_output": " t"}}] * osl + [{{"text_output": ""}}],
    }})
one = {{"experiment": {{"mode": "concurrency", "value": clients}}, "requests": rows}}
folder = pathlib.Path(asked["--artifact-dir"])
(folder / "profile_export.json").write_text(json.dumps({{"experiments": [one]}}))
"""


@pytest.fixture
def genai_perf(tmp_path, monkeypatch):
    """A stand-in for genai-perf on the path, whose clients are perfect."""
    program = tmp_path / "bin" / "genai-perf"
    program.parent.mkdir()
    program.write_text(TOOL.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    program.with_name("perf_analyzer").symlink_to(program)  # what genai-perf runs
    monkeypatch.setenv("PATH", str(program.parent))


def driven(*words):
    """Sweep a mocked server with another tool's load."""
    with MockServer(Script()) as mock:
        url = f"grpc://{mock.server.grpc_url}?metrics=1"
        line = ["sweep", "--engine", "fp8-b16", "--triton-url", url, "--output", "out", *words]
        return CliRunner().invoke(cli_module.app, line)


@pytest.mark.usefixtures("genai_perf")
def test_another_tool_can_send_the_load(folder):
    """What it recorded is measured by our formulas, named as its own, and kept."""
    result = driven(
        "--driver", "genai-perf", "--tokenizer", "gpt2", "--concurrency", "4,8", "--json"
    )
    (one,) = json.loads(result.stdout)
    rows = {row["concurrency"]: row for row in one["result"]["rows"]}
    stored = artifacts.load_sweep(folder / "out")

    assert result.exit_code == 0
    assert rows[8]["throughput_tok_s"] == pytest.approx(8 * 128 / 1.29, rel=0.02)
    assert rows[8]["throughput_tok_s"] == pytest.approx(2 * rows[4]["throughput_tok_s"], rel=0.01)
    for taken in stored.engines[0].taken:
        assert taken.measurement.fingerprint.identity["driver"] == "genai-perf"
    assert len(list((folder / "out" / "driver").rglob("profile_export.json"))) == 2


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--driver", "genai-perf", "--simulate"), "--simulate has no server"),
        (("--driver", "genai-perf"), "tokenizer"),
        (("--tokenizer", "gpt2"), "it is for --driver"),
        (("--driver", "aiperf", "--tokenizer", "gpt2"), "aiperf is not installed"),
    ],
    ids=["in virtual time", "no tokenizer", "no driver", "not installed"],
)
@pytest.mark.usefixtures("folder", "genai_perf")
def test_a_driver_that_cannot_drive_is_refused(monkeypatch, capsys, words, rule):
    """Before anything is booted or run."""
    assert rule in refused(monkeypatch, capsys, "--engine", "fp8-b16", *words)
