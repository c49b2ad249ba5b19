"""`perfgate profile` from command line to files, with a stand-in nsys and a mocked server."""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perfgate import cli
from perfgate import rig as rig_module
from perfgate.engines.site import origin, write_origin
from perfgate.errors import MissingRequirementError, PerfGateError, UsageError
from perfgate.hardware import load_profile
from perfgate.mock_server import Misbehaviour, MockServer, Script
from perfgate.model import Engine, Target
from perfgate.observe.kernels import Phase
from perfgate.observe.nsys import Nsys, ServerKind, find_nsys
from perfgate.profiling import phase_load
from perfgate.setting import Setting
from perfgate.suite import load_suite
from perfgate.trtllm import Runner
from tests.unit.factories import a_point
from tests.unit.hardware_samples import a_config, a_site, lay_out_models
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

# Notes each call; a report exists only between start and stop, as with the real one.
NSYS = """#!{python} -IS
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
verb, options = sys.argv[1], dict(a.partition("=")[::2] for a in sys.argv[2:])
running = here / "running"
if verb == "start":
    running.write_text(options["--output"])
elif verb == "stop":
    if not running.exists():
        sys.exit("no collection is running")
    report = pathlib.Path(running.read_text())
    report.write_text("report")
    running.unlink()
elif verb == "stats":
    report = pathlib.Path(sys.argv[-1])
    if not report.exists():
        sys.exit("no such report")
    scale = 3 if report.stem == "decode" else 1
    print("Processing [x.sqlite] with [cuda_gpu_kern_sum.py]...\\n")
    print("Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name")
    print(f"75.0,{{3000000 * scale}},300,1,1,1,1,0,nvjet_sm121_qqtst")
    print(f"25.0,{{1000000 * scale}},100,1,1,1,1,0,kernel_mha")
"""


class Bench:
    """A suite, a stand-in nsys on PATH, and a mocked server in place of Triton."""

    def __init__(self, folder):
        self.folder = folder
        self.script = Script(input_tokens=4, ttft_s=0.1)
        self.under = []

    @contextmanager
    def serve(self, engine, serving, *, under, **_):  # noqa: ARG002 - Triton's signature
        """Yield a mocked server; note what it would run under."""
        self.under.append(under)
        with MockServer(self.script) as mock:
            yield mock.server

    @property
    def calls(self):
        """What nsys was called with."""
        lines = (self.folder / "bin" / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """The bench, its suite small enough for a blink."""
    bench = Bench(tmp_path)
    nsys = tmp_path / "bin" / "nsys"
    nsys.parent.mkdir()
    nsys.write_text(NSYS.format(python=sys.executable))
    nsys.chmod(0o755)
    monkeypatch.setenv("PATH", str(nsys.parent), prepend=":")
    monkeypatch.chdir(tmp_path)
    site = a_site(lay_out_models(tmp_path))
    write_origin(tmp_path, origin(site, tmp_path / "models" / "llama"))
    monkeypatch.setattr(rig_module, "serve", bench.serve)
    monkeypatch.setattr(rig_module, "build", built)
    monkeypatch.setattr(cli.profile, "settle", settled)
    return bench


def built(spec, *, target, profile, cache, site):  # noqa: ARG001 - the signature is the build's
    """An engine that nobody built."""
    return Engine(spec=spec, target=target, directory=Path.cwd(), digest="ab12")


def settled(folder, *, target, url, require_hardware, artifacts):  # noqa: ARG001 - settle's own
    """A hardware setting whose one point has two clients and short requests."""
    suite = load_suite(ROOT)
    point = suite.point("fp8-b16-c16")
    small = replace(point, workload=replace(point.workload, concurrency=2, isl=4, osl=2))
    return Setting(
        suite=replace(suite, root=folder, points=(small,)),
        target=Target.SIM if target == "sim" else Target.TRT_ENGINE,
        profile=load_profile(ROOT / "hardware" / "gb10.toml"),
        artifacts=artifacts,
    )


def run(*words):
    """Run `perfgate profile` in this process."""
    return CliRunner().invoke(cli.app, ["profile", *words])


def test_both_phases_are_captured_around_their_load(bench):
    """The server runs under nsys; each phase is collected, written, read and told."""
    result = run("--point", "fp8-b16-c16", "--output", "out")

    assert result.exit_code == 0, result.output
    assert [call[0] for call in bench.calls] == [
        *("start", "stop", "stats", "start", "stop", "stats", "shutdown"),
    ]
    assert bench.under[0][1] == "launch"
    session = bench.under[0][2].partition("=")[2]
    assert all(f"--session={session}" in call for call in bench.calls if call[0] != "stats")
    assert "prefill: 16 requests of 4 input and 1 output tokens at concurrency 2" in result.stdout
    assert "decode: 2 requests of 4 input and 8 output tokens" in result.stdout
    assert "GEMM 75.0%, attention 25.0%" in result.stdout


def test_a_profiled_run_leaves_nothing_to_judge(bench):
    """Reports and captures are written; no records, measurements or verdicts."""
    run("--point", "fp8-b16-c16", "--output", "out")
    written = {path.name for path in (bench.folder / "out").rglob("*") if path.is_file()}

    assert written == {
        *("prefill.nsys-rep", "prefill.csv", "decode.nsys-rep", "decode.csv", "profile.json"),
    }
    assert not {"throughput_tok_s", "latency_s"} & set(
        (bench.folder / "out" / "profile.json").read_text().split('"')
    )


def test_two_captures_are_compared(bench):
    """A capture against an earlier one, and two stored ones, tell what changed per request."""
    run("--point", "fp8-b16-c16", "--output", "old")
    nsys = bench.folder / "bin" / "nsys"
    nsys.write_text(nsys.read_text().replace("3000000", "4000000"))

    first = run("--point", "fp8-b16-c16", "--output", "new", "--against", "old", "--json")
    again = run("--diff", "old", "new")

    changes = json.loads(first.stdout)["changes"]
    assert [(one["phase"], one["name"]) for one in changes[:1]] == [("decode", "nvjet_sm121_qqtst")]
    assert changes[0]["after_ns"] / changes[0]["before_ns"] == pytest.approx(4 / 3)
    assert again.exit_code == 0
    assert "+1500.0 µs" in again.stdout


def test_one_phase_alone_can_be_captured(bench):
    """--phase leaves the other out."""
    run("--point", "fp8-b16-c16", "--phase", "decode")

    assert [call[0] for call in bench.calls] == ["start", "stop", "stats", "shutdown"]


def test_a_load_that_breaks_still_ends_the_session(bench):
    """The collection is stopped and the session shut down, and the error is told."""
    bench.script = Script(input_tokens=4, misbehaviour=Misbehaviour.RESET, after=0)

    result = run("--point", "fp8-b16-c16")

    assert isinstance(result.exception, PerfGateError)
    assert [call[0] for call in bench.calls][-1] == "shutdown"
    assert not (bench.folder / "bin" / "running").exists()
    assert not (bench.folder / "profile" / "profile.json").exists()


def test_a_request_that_fails_in_the_capture_spoils_it(bench):
    """Kernels of fewer requests than stated would be compared with those of all."""
    bench.script = Script(
        input_tokens=4, ttft_s=0.1, misbehaviour=Misbehaviour.OUT_OF_MEMORY, after=5, times=1
    )

    result = run("--point", "fp8-b16-c16")

    assert "1 requests failed under nsys" in str(result.exception)


@pytest.mark.usefixtures("bench")
def test_a_simulated_target_has_no_kernels():
    """The simulated engine is refused before anything is booted."""
    result = run("--point", "fp8-b16-c16", "--target", "sim")

    assert isinstance(result.exception, UsageError)
    assert "GPU of this machine" in str(result.exception)


@pytest.mark.usefixtures("bench")
def test_a_server_in_a_container_of_its_own_is_not_profiled_from_outside(monkeypatch):
    """It would record `docker` and no kernel: said before anything is built."""
    contained = replace(
        settled(Path(), target="trt-engine", url=None, require_hardware=True, artifacts=Path()),
        trtllm=a_config(runner=Runner.DOCKER),
    )
    monkeypatch.setattr(cli.profile, "settle", lambda *_, **__: contained)

    result = run("--point", "fp8-b16-c16")

    assert isinstance(result.exception, UsageError)
    assert "runner: got 'docker'" in str(result.exception)
    assert "inside the container" in str(result.exception)


def test_prompts_are_of_the_served_model_s_tokens(bench):
    """Counted by another tokenizer, a phase would have another length than it is told with."""
    (bench.folder / "models" / "llama" / "tokenizer.json").unlink()

    result = run("--point", "fp8-b16-c16")

    assert isinstance(result.exception, MissingRequirementError)
    assert "tokenizer.json" in str(result.exception)


def test_captures_of_unlike_machines_are_not_compared(bench):
    """Each field of the two identities that differs is named."""
    run("--point", "fp8-b16-c16", "--output", "old")
    path = bench.folder / "old" / "profile.json"
    stored = json.loads(path.read_text())
    stored["identity"]["driver"] = "580.1"
    (bench.folder / "new").mkdir()
    (bench.folder / "new" / "profile.json").write_text(json.dumps(stored))

    result = run("--diff", "old", "new")

    assert isinstance(result.exception, UsageError)
    assert "driver is 580.1 instead of (absent)" in str(result.exception)


def test_without_nsys_it_says_where_to_get_it(monkeypatch, tmp_path):
    """Nothing is booted; the message names the tool and its package."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingRequirementError, match="nsight-systems-cli"):
        find_nsys()
    assert isinstance(run("--point", "x").exception, MissingRequirementError)


@pytest.mark.parametrize("words", [[], ["--point", "a", "--diff", "b", "c"]], ids=str)
def test_one_thing_is_done_at_a_time(words):
    """Nothing, or two things at once, is wrong usage."""
    assert isinstance(run(*words).exception, UsageError)


def test_the_flags_follow_the_server():
    """Graphs by node and forked children everywhere; the GIL and NVTX of PyTorch where it runs."""
    nsys = Nsys(program="nsys", session="s")
    engine, llmapi, serve = (
        nsys.launch(kind)
        for kind in (ServerKind.TRITON_ENGINE, ServerKind.TRITON_LLMAPI, ServerKind.TRTLLM_SERVE)
    )

    for flags in (engine, llmapi, serve):
        assert flags[:3] == ("nsys", "launch", "--session-new=s")
        assert "--cuda-graph-trace=node" in flags
        assert "--trace-fork-before-exec=true" in flags
        assert not [flag for flag in flags if "--output" in flag or "--sample" in flag]
    assert "--trace=cuda,nvtx" in engine
    assert "--trace=cuda,nvtx,python-gil" in serve
    assert "--env-var=TLLM_PROFILE_RECORD_GC=1,TLLM_LLMAPI_ENABLE_NVTX=1" in llmapi


# By command, as the Nsight Systems user guide lists them under "CLI command switches".
NSYS_OPTIONS = {
    "launch": {"--session-new", "--trace", "--cuda-graph-trace", "--trace-fork-before-exec"}
    | {"--wait", "--env-var"},
    "start": {"--session", "--sample", "--cpuctxsw", "--force-overwrite", "--output"},
    "stop": {"--session"},
    "shutdown": {"--session", "--kill"},
    "stats": {"--report", "--format", "--force-export"},
}


def test_each_nsys_command_has_its_documented_options():
    """A launch waits for all children, a start samples no CPU and overwrites, a report is CSV."""
    nsys, report = Nsys(program="nsys", session="s"), Path("r.nsys-rep")
    commands = [
        *(nsys.launch(ServerKind.TRITON_LLMAPI), nsys.start(report), nsys.stop()),
        *(nsys.shutdown(), nsys.statistics(report)),
    ]
    used = {
        argv[1]: {word.partition("=")[0] for word in argv if word.startswith("--")}
        for argv in commands
    }

    assert used == NSYS_OPTIONS
    assert "--wait=all" in commands[0]
    assert {"--sample=none", "--cpuctxsw=none", "--force-overwrite=true"} <= set(commands[1])
    assert "--kill=sigterm" in commands[3]
    assert commands[4][2:6] == ("--report", "cuda_gpu_kern_sum", "--format", "csv")
    assert "--force-export=true" in commands[4]


def test_trtllm_serve_is_told_how():
    """For a server that perfgate does not boot, the commands are printed in order."""
    told = json.loads(run("--trtllm-serve", "nvidia/Llama-3.1-8B-Instruct-FP8").stdout)

    assert [words[1] for words in told.values()] == ["launch", "start", "stop", "stats", "shutdown"]
    assert told["1 serve"][-2:] == ["trtllm-serve", "nvidia/Llama-3.1-8B-Instruct-FP8"]


def test_phases_are_shaped_by_their_lengths():
    """One output token is all prefill; a short prompt and a long answer is nearly all decode."""
    point = a_point(concurrency=16)

    prefill, decode = (phase_load(point, phase) for phase in (Phase.PREFILL, Phase.DECODE))

    assert (prefill.isl, prefill.osl) == (128, 1)
    assert (decode.isl, decode.osl) == (16, 512)
    assert prefill.concurrency == decode.concurrency == 16


def test_a_decode_load_fits_the_kv_cache_of_all_clients():
    """Requests that queue for KV blocks would show the scheduler, not the kernels."""
    load = phase_load(a_point(concurrency=256), Phase.DECODE)

    assert 256 * (load.isl + load.osl) <= 65536
