"""`perfgate plan`: everything a target would do, written down, checked, and not done."""

import json
import re
import subprocess

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig
from typer.testing import CliRunner

from perfgate import plan as plan_module
from perfgate.cli import app
from perfgate.engines.flags import check_argv, check_keywords
from perfgate.errors import UsageError
from perfgate.model import Target
from perfgate.plan import PLAN_FILE, Planner
from perfgate.serving.triton import TritonInstall
from perfgate.suite import load_suite
from perfgate.trtllm import Runner
from tests.unit.hardware_samples import a_config, lay_out_suite
from tests.unit.planted import ROOT
from tests.unit.upstream_tensors import INPUTS, OUTPUTS, tensor_lines

pytestmark = pytest.mark.unit

SUITE = load_suite(ROOT)
CONTAINER = a_config().container
HARDWARE = [Target.TRT_ENGINE, Target.LLMAPI]
LLMAPI_INPUTS = {
    ("text_input", "STRING"),
    ("max_tokens", "INT32"),
    ("end_id", "INT32"),
    ("ignore_eos", "BOOL"),
    ("top_k", "INT32"),
    ("top_p", "FP32"),
    ("temperature", "FP32"),
    ("min_tokens", "INT32"),
    ("seed", "UINT64"),
    ("stream", "BOOL"),
    ("exclude_input_in_output", "BOOL"),
    ("return_perf_metrics", "BOOL"),
    ("return_num_input_tokens", "BOOL"),
    ("return_num_output_tokens", "BOOL"),
}
LLMAPI_OUTPUTS = {
    ("text_output", "STRING"),
    ("kv_cache_alloc_new_blocks", "INT32"),
    ("kv_cache_reused_blocks", "INT32"),
    ("kv_cache_alloc_total_blocks", "INT32"),
    ("arrival_time_ns", "INT64"),
    ("first_scheduled_time_ns", "INT64"),
    ("first_token_time_ns", "INT64"),
    ("last_token_time_ns", "INT64"),
    ("num_input_tokens", "INT32"),
    ("num_output_tokens", "INT32"),
}


def write(folder, target, points=SUITE.points, **config):
    """Plan points of the suite with a made-up configuration."""
    planner = Planner(
        root=folder / "suite",
        cache=folder / "suite" / ".perfgate" / "engines",
        target=target,
        config=a_config(**config),
        output=folder / "plan",
    )
    return planner.write(points)


@pytest.fixture(scope="module", params=HARDWARE, ids=str)
def planned(request, tmp_path_factory):
    """The plan of every point of the suite for one target, and where it was written."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, write(folder, request.param), folder / "plan"


def configs(folder):
    """The model configurations of one point, parsed by Triton's own schema."""
    return {
        path.parent.name: text_format.Parse(path.read_text(), ModelConfig())
        for path in folder.glob("models/*/config.pbtxt")
    }


def typed(tensors):
    """Names and types."""
    return {
        (tensor.name, model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_"))
        for tensor in tensors
    }


def test_every_point_is_planned_or_refused_with_the_reason(planned):
    """No point is forgotten; only the LLM API refuses one, for the attention it cannot turn off."""
    target, plan, _ = planned
    refused = {point.point for point in plan.points if point.refused}

    assert [point.point for point in plan.points] == [point.id for point in SUITE.points]
    assert refused == ({"fp16-prefill-nofmha"} if target is Target.LLMAPI else set())


def test_every_command_is_understood_by_its_version(planned):
    """Each argv passes the flag table of its own tool, as written in the files."""
    target, plan, folder = planned
    versions = {"tritonserver": "26.07"}
    for point in plan.points:
        if point.refused:
            continue
        for command in json.loads((folder / point.point / "commands.json").read_bytes()):
            words = command["argv"]
            first = next(i for i, word in enumerate(words) if word.startswith("--"))
            check_argv(command["name"], versions.get(command["name"], "1.2.1"), words[first:])
            assert command["environment"]["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
        if target is Target.LLMAPI:
            path = folder / point.point / "models" / "tensorrt_llm" / "1" / "llm.json"
            check_keywords("LLM", "1.2.1", json.loads(path.read_bytes()))


def test_the_steps_lead_from_checkpoint_to_server(planned):
    """Engines are made in two steps; the LLM API has nothing to build."""
    target, plan, _ = planned
    names = {
        point.point: [command.name for command in point.commands]
        for point in plan.points
        if not point.refused
    }

    if target is Target.LLMAPI:
        assert set(map(tuple, names.values())) == {("tritonserver",)}
    else:
        assert names["fp16-b16-c16"] == ["convert_checkpoint.py", "trtllm-build", "tritonserver"]
        assert names["fp8-b192-c160"] == ["quantize.py", "trtllm-build", "tritonserver"]


def test_what_one_step_writes_the_next_one_reads(tmp_path):
    """Checkpoint, engine and repository are handed on under the same path."""
    plan = write(tmp_path, Target.TRT_ENGINE, [SUITE.point("fp8-b192-c160")])
    quantise, build, serve = (command.argv for command in plan.points[0].commands)
    config = configs(tmp_path / "plan" / "fp8-b192-c160")["tensorrt_llm"]

    def after(argv, flag):
        return argv[argv.index(flag) + 1]

    assert after(quantise, "--output_dir") == after(build, "--checkpoint_dir")
    assert after(build, "--output_dir") == config.parameters["gpt_model_path"].string_value
    assert f"--model-repository={plan.points[0].repository}" in serve


def test_the_repositories_are_triton_s_and_upstream_s(planned):
    """Parsed as ModelConfig: tensors, types, decoupled; no placeholder anywhere."""
    target, plan, folder = planned
    for point in plan.points:
        if point.refused:
            continue
        found = configs(folder / point.point)
        if target is Target.TRT_ENGINE:
            for name, config in found.items():
                assert typed(config.input) == {line[:2] for line in tensor_lines(INPUTS[name])}
                assert typed(config.output) == {line[:2] for line in tensor_lines(OUTPUTS[name])}
        else:
            assert set(found) == {"tensorrt_llm"}
            assert typed(found["tensorrt_llm"].input) == LLMAPI_INPUTS
            assert typed(found["tensorrt_llm"].output) == LLMAPI_OUTPUTS
        assert found["tensorrt_llm"].model_transaction_policy.decoupled
        for path in (folder / point.point).rglob("*.pbtxt"):
            assert not re.search(r"\$\{", path.read_text())


def test_the_llm_api_s_model_needs_no_batcher(tmp_path):
    """The LLM batches by itself: no batch dimension, no delay."""
    write(tmp_path, Target.LLMAPI, [SUITE.point("fp8-b192-c160")])
    config = configs(tmp_path / "plan" / "fp8-b192-c160")["tensorrt_llm"]

    assert (config.backend, config.max_batch_size) == ("python", 0)
    assert not config.HasField("dynamic_batching")
    assert {tensor.name for tensor in config.input if not tensor.optional} == {
        "text_input",
        "max_tokens",
    }


def test_the_server_is_ours_alone(planned):
    """Every port is bound to the loopback interface."""
    for point in planned[1].points:
        if not point.refused:
            argv = point.commands[-1].argv
            for service in ("http", "grpc", "metrics"):
                assert f"--{service}-address=127.0.0.1" in argv


def test_nothing_but_the_plan_is_touched(tmp_path, monkeypatch):
    """No process is started, no folder beside the plan made, no model needed."""

    def forbidden(*words, **_):
        raise AssertionError(f"started {words}")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    write(tmp_path, Target.TRT_ENGINE)

    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_in_the_container_every_command_is_docker_s(tmp_path):
    """Builds have no network; the server shares the loopback interface; one image, pinned."""
    plan = write(tmp_path, Target.TRT_ENGINE, [SUITE.point("fp8-b192-c160")], runner=Runner.DOCKER)
    commands = plan.points[0].commands

    assert {command.argv[:2] for command in commands} == {("docker", "run")}
    networks = [word for c in commands for word in c.argv if word.startswith("--network=")]
    assert networks == ["--network=none", "--network=none", "--network=host"]
    for command in commands:
        assert "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3" in command.argv
        assert "--shm-size=2g" in command.argv
        assert "--gpus=device=0" in command.argv


@pytest.mark.parametrize("runner", Runner)
def test_what_the_suite_adds_to_the_environment_reaches_tools_and_server(tmp_path, runner):
    """Where Triton or MPI want a library first, or a permission, the suite's file says so."""
    wanted = {"LD_PRELOAD": "/opt/lib/first.so", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    point = SUITE.point("fp16-b16-c16")
    plan = write(tmp_path, Target.TRT_ENGINE, [point], runner=runner, environment=wanted)

    for command in plan.points[0].commands:
        image = len(command.argv) if runner is Runner.LOCAL else command.argv.index(CONTAINER)
        given = command.environment | dict(
            word.removeprefix("--env=").split("=", 1)
            for word in command.argv[:image]
            if word.startswith("--env=")
        )
        assert wanted.items() <= given.items()
        assert not command.environment or runner is Runner.LOCAL


def test_the_first_of_several_visible_gpus_is_planned_for(tmp_path, monkeypatch):
    """A server has one GPU, counted as the driver counts; Docker takes no list here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    point = SUITE.point("fp8-b192-c160")
    local = write(tmp_path / "a", Target.LLMAPI, [point]).points[0].commands[-1]
    boxed = write(tmp_path / "b", Target.LLMAPI, [point], runner=Runner.DOCKER)

    assert local.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert local.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "--gpus=device=1" in boxed.points[0].commands[-1].argv


def test_a_version_the_tables_do_not_allow_is_refused_before_anything_is_written(tmp_path):
    """The plan for TensorRT-LLM 1.3 has no engine to build."""
    with pytest.raises(Exception, match="--target llmapi"):
        write(tmp_path, Target.TRT_ENGINE, tensorrt_llm="1.3.0", container="own/triton:1")

    assert not (tmp_path / "plan").exists()


def test_a_single_point_that_cannot_be_is_an_error(tmp_path):
    """Asked for by name, it is not a footnote."""
    with pytest.raises(UsageError, match="context_fmha"):
        write(tmp_path, Target.LLMAPI, [SUITE.point("fp16-prefill-nofmha")])


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """The plan goes into a new or empty folder."""
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "notes").write_text("mine")

    with pytest.raises(UsageError, match="--output"):
        write(tmp_path, Target.TRT_ENGINE)
    assert (tmp_path / "plan" / "notes").read_text() == "mine"


def test_a_running_server_needs_no_plan(tmp_path):
    """Nothing is built or rendered for it."""
    planner = Planner(
        root=tmp_path, cache=tmp_path, target=Target.REMOTE, config=None, output=tmp_path / "plan"
    )
    with pytest.raises(UsageError, match="nothing to plan"):
        planner.write([SUITE.point("fp8-b192-c160")])


def test_the_simulated_target_is_rendered_by_the_same_code(tmp_path, monkeypatch):
    """Its ensemble is that of the engine target, save for backend, instances and paths."""
    install = TritonInstall(
        binary=tmp_path / "tritonserver",
        python_backend=ROOT / "fixtures",
        stub=ROOT,
        environment={},
    )
    monkeypatch.setattr(plan_module, "find_triton", lambda: install)
    point = SUITE.point("fp8-b192-c160")
    (tmp_path / "sim").mkdir()
    write(tmp_path / "sim", Target.SIM, [point])
    write(tmp_path, Target.TRT_ENGINE, [point])
    simulated = configs(tmp_path / "sim" / "plan" / point.id)
    real = configs(tmp_path / "plan" / point.id)

    for config in (*simulated.values(), *real.values()):
        for name in ("tokenizer_dir", "gpt_model_path"):
            config.parameters.pop(name, None)
    assert simulated["tensorrt_llm"].backend == "python"
    simulated["tensorrt_llm"].backend = real["tensorrt_llm"].backend
    # A real engine's tokens pass two postprocessing instances, which keep their order.
    simulated["postprocessing"].instance_group[0].count = 2
    simulated["postprocessing"].dynamic_batching.preserve_ordering = True
    assert simulated == real


@pytest.mark.parametrize("target", HARDWARE, ids=str)
def test_the_command_line_plans_the_suite(tmp_path, monkeypatch, target):
    """From the suite's own trtllm.toml; the text has a line a point, the JSON is the file."""
    monkeypatch.chdir(lay_out_suite(tmp_path))

    told = CliRunner().invoke(app, ["plan", "--target", target, "--output", "one"])
    as_json = CliRunner().invoke(app, ["plan", "--target", target, "--output", "two", "--json"])

    assert told.exit_code == 0, told.output
    assert len(told.stdout.splitlines()) == len(SUITE.points)
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "two" / PLAN_FILE).read_bytes())


def test_the_command_line_refuses_an_unknown_target(tmp_path, monkeypatch):
    """With the known ones."""
    monkeypatch.chdir(lay_out_suite(tmp_path))

    result = CliRunner().invoke(app, ["plan", "--target", "trt", "--output", "one"])

    assert isinstance(result.exception, UsageError)
    assert "trt-engine" in str(result.exception)
