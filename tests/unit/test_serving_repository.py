"""The model repository that is rendered is upstream's, for every target that uses it."""

import re
from dataclasses import replace

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from perfgate.errors import UsageError
from perfgate.model import (
    BatchingStrategy,
    Engine,
    EngineSpec,
    Precision,
    SchedulerPolicy,
    ServingSpec,
    Target,
)
from perfgate.serving.repository import scheduling_parameters, serving_spec, write_repository
from tests.unit.upstream_tensors import INPUTS, OUTPUTS, STEPS, map_lines, tensor_lines

pytestmark = pytest.mark.unit

MODELS = ("ensemble", "preprocessing", "tensorrt_llm", "postprocessing")
SPEC = EngineSpec(
    model="llm-7b",
    precision=Precision.FP8,
    max_batch_size=192,
    max_input_len=1536,
    max_seq_len=2048,
    max_num_tokens=8192,
)
SERVING = ServingSpec(kv_cache_tokens=65536)


def an_engine(target, folder):
    """A built engine."""
    return Engine(spec=SPEC, target=target, directory=folder / "engine", digest="0" * 16)


def read(repository):
    """The configurations in a repository, parsed by Triton's own schema."""
    return {
        path.parent.name: text_format.Parse(path.read_text(), ModelConfig())
        for path in repository.glob("*/config.pbtxt")
    }


@pytest.fixture(scope="module", params=[Target.SIM, Target.TRT_ENGINE], ids=str)
def rendered(request, tmp_path_factory):
    """The repository of one target: its folder, its target, its configurations."""
    root = tmp_path_factory.mktemp(request.param)
    root = tmp_path_factory.mktemp(request.param)
    repository = write_repository(root, an_engine(request.param, root), SERVING, root / "tokenizer")
    return repository, request.param, read(repository)


def test_the_four_models_of_the_ensemble_are_there(rendered):
    """Each under its own name, each with a version folder."""
    repository, _, configs = rendered

    assert sorted(configs) == sorted(MODELS)
    for name, config in configs.items():
        assert config.name == name
        assert (repository / name / "1").is_dir()


def test_two_postprocessing_instances_keep_the_order_of_a_stream(rendered):
    """More than one only where their answers leave in the order in which the tokens came."""
    _, target, configs = rendered
    config = configs["postprocessing"]

    assert config.instance_group[0].count == (1 if target is Target.SIM else 2)
    assert config.dynamic_batching.preserve_ordering == (target is not Target.SIM)


@pytest.mark.parametrize("model", MODELS)
def test_the_tensors_are_upstream_s(rendered, model):
    """Names, types, dimensions, which are optional, ragged or scalar: as upstream declares them."""
    config = rendered[2][model]

    def line(tensor, marks):
        kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        return (tensor.name, kind, tuple(tensor.dims), frozenset(marks))

    inputs = {
        line(
            tensor,
            "?" * tensor.optional
            + "~" * tensor.allow_ragged_batch
            + "=" * tensor.HasField("reshape"),
        )
        for tensor in config.input
    }
    assert inputs == tensor_lines(INPUTS[model])
    assert {line(tensor, "") for tensor in config.output} == tensor_lines(OUTPUTS[model])


@pytest.mark.parametrize("model", MODELS[1:])
def test_the_ensemble_is_wired_as_upstream_s(rendered, model):
    """Every step's tensors meet those of the ensemble that upstream connects them with."""
    steps = {step.model_name: step for step in rendered[2]["ensemble"].ensemble_scheduling.step}

    assert dict(steps[model].input_map) == map_lines(STEPS[model], "<")
    assert dict(steps[model].output_map) == map_lines(STEPS[model], ">")
    assert steps[model].model_version == -1


def test_only_the_engine_is_decoupled(rendered):
    """It streams; the text models answer once, and the ensemble takes after its steps."""
    decoupled = {
        name for name, config in rendered[2].items() if config.model_transaction_policy.decoupled
    }

    assert decoupled == {"tensorrt_llm"}


def test_only_the_engine_s_backend_differs_between_targets(rendered):
    """Simulated or real, the rest of the repository is the same."""
    _, target, configs = rendered
    backends = {name: config.backend or config.platform for name, config in configs.items()}

    assert (
        backends.pop("tensorrt_llm")
        == {
            Target.SIM: "python",
            Target.TRT_ENGINE: "tensorrtllm",
        }[target]
    )
    assert backends == {
        "ensemble": "ensemble",
        "preprocessing": "python",
        "postprocessing": "python",
    }


def test_every_model_takes_the_engine_s_batch(rendered):
    """No model of the chain is a narrower gate than the engine."""
    assert {config.max_batch_size for config in rendered[2].values()} == {192}


def test_nothing_is_left_to_fill_in(rendered):
    """No `${...}` placeholder stands anywhere in the repository."""
    for path in rendered[0].rglob("config.pbtxt"):
        assert not re.search(r"\$\{", path.read_text()), path


def test_python_models_bring_their_code_and_the_c_backend_none(rendered):
    """A python-backend model has its `model.py`; the C++ backend has an empty version folder."""
    repository, _, configs = rendered
    for name, config in configs.items():
        assert (repository / name / "1" / "model.py").is_file() == (config.backend == "python")


def test_the_engine_is_served_as_the_spec_says(rendered):
    """KV tokens pinned, no reuse, no fraction of a memory that is shared: upstream's key names."""
    parameters = {
        key: value.string_value for key, value in rendered[2]["tensorrt_llm"].parameters.items()
    }

    root = rendered[0].parent
    assert parameters == {
        "gpt_model_path": str(root / "engine"),
        "tokenizer_dir": str(root / "tokenizer"),
        "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
        "gpt_model_type": "inflight_fused_batching",
        "batch_scheduler_policy": "guaranteed_no_evict",
        "max_tokens_in_paged_kv_cache": "65536",
        "enable_chunked_context": "false",
        "enable_kv_cache_reuse": "false",
        "max_beam_width": "1",
        "cancellation_check_period_ms": "100",
        "stats_check_period_ms": "100",
    }


@given(
    st.builds(
        ServingSpec,
        kv_cache_tokens=st.integers(1, 10**7),
        scheduler_policy=st.sampled_from(SchedulerPolicy),
        batching=st.sampled_from(BatchingStrategy),
        chunked_context=st.booleans(),
    )
)
def test_scheduling_survives_its_rendering(serving):
    """What the simulated backend reads back is what was asked for."""
    assert serving_spec(scheduling_parameters(serving)) == serving


def test_a_target_without_this_ensemble_is_refused(tmp_path):
    """A server that is already running is rendered nothing."""
    engine = replace(an_engine(Target.SIM, tmp_path), target=Target.REMOTE)

    with pytest.raises(UsageError, match="target"):
        write_repository(tmp_path, engine, SERVING, tmp_path)
