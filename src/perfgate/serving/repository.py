"""The Triton model repository: `ensemble` -> `preprocessing` -> `tensorrt_llm` -> `postprocessing`.

Each config.pbtxt is built as a ModelConfig message and printed by protobuf's own text format, not
filled into a text template: a misspelt field, a wrong type or an unfilled placeholder cannot be
written at all. One rendering serves every target; only the backend of `tensorrt_llm` differs. The
target llmapi needs one model alone, text in and text out, under that same name.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]  # ships no types
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.model import BatchingStrategy, Engine, SchedulerPolicy, ServingSpec, Target
from perfgate.serving import tensors
from perfgate.serving.llm_arguments import llm_arguments
from perfgate.serving.tensors import Tensor

_MODELS = Path(__file__).parent / "models"
_BACKENDS = {Target.SIM: "python", Target.REFERENCE: "python", Target.TRT_ENGINE: "tensorrtllm"}
_REFERENCE_ENGINE = (tensors.TENSORRT_LLM, Target.REFERENCE)
# Every token of every stream passes the postprocessing model, and Triton's one thread for each of
# its instances gives out first: near 5000 tokens/s, whatever the engine. Two raise that by half
# (docs/measured.md). The simulated engine runs on small machines, where one more costs cores.
_POSTPROCESSING_INSTANCES = {Target.SIM: 1, Target.REFERENCE: 2, Target.TRT_ENGINE: 2}
# The C++ backend reads its statistics and looks for cancelled requests this often.
_PERIOD_MS = 100


def write_repository(
    root: Path,
    engine: Engine,
    serving: ServingSpec,
    tokenizer_dir: Path,
    *,
    tensorrt_llm: str = "",
) -> Path:
    """Write the whole repository under `root`; returns its path.

    For the target llmapi `tokenizer_dir` is the model's own folder, and `tensorrt_llm` the version.
    Raises UsageError for a target that is not served by a Triton of ours.
    """
    repository = root / "models"
    for config in model_configs(engine, serving, tokenizer_dir, repository):
        folder = repository / config.name
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
        if config.backend == "python":
            model = _MODELS / f"{_model_file(config.name, engine.target)}.py"
            shutil.copyfile(model, folder / "1" / "model.py")
    if engine.target is Target.LLMAPI:
        arguments = llm_arguments(
            engine.spec, serving, checkpoint=tokenizer_dir, version=tensorrt_llm
        )
        _llm_arguments_path(repository).write_bytes(codec.to_pretty_json(arguments))
    return repository


def _model_file(name: str, target: Target) -> str:
    """The engine is another on each target; all around it is the same."""
    if target is Target.LLMAPI:
        return tensors.LLMAPI
    return f"{name}_reference" if (name, target) == _REFERENCE_ENGINE else name


def model_configs(
    engine: Engine, serving: ServingSpec, tokenizer_dir: Path, repository: Path
) -> tuple[ModelConfig, ...]:
    """The models' configurations, in the order in which a request meets them."""
    if engine.target is Target.LLMAPI:
        return (_llmapi(_llm_arguments_path(repository)),)
    if engine.target not in _BACKENDS:
        served = ", ".join((*_BACKENDS, Target.LLMAPI))
        raise UsageError("target", str(engine.target), f"a Triton of ours serves {served}")
    batch = engine.spec.max_batch_size
    return (
        _ensemble(batch),
        _text_model(tensors.PREPROCESSING, batch, tokenizer_dir, add_special_tokens="true"),
        _tensorrt_llm(engine, serving, tokenizer_dir),
        _postprocessing(engine, tokenizer_dir),
    )


def served_model(target: Target) -> str:
    """The model that clients of this target ask."""
    return tensors.TENSORRT_LLM if target is Target.LLMAPI else tensors.ENSEMBLE


def _llmapi(arguments: Path) -> ModelConfig:
    # No batch dimension: the LLM API batches by itself, and a batcher here would only add delay.
    config = _model(tensors.LLMAPI, 0)
    config.name = tensors.TENSORRT_LLM
    config.backend = "python"
    config.model_transaction_policy.decoupled = True
    config.instance_group.add(count=1, kind="KIND_CPU")
    _set_parameters(config, {"llm_arguments": str(arguments)})
    return config


def _llm_arguments_path(repository: Path) -> Path:
    return repository / tensors.TENSORRT_LLM / "1" / "llm.json"


def _ensemble(batch: int) -> ModelConfig:
    config = _model(tensors.ENSEMBLE, batch)
    config.platform = "ensemble"
    for step in tensors.STEPS:
        config.ensemble_scheduling.step.add(
            model_name=step.model, model_version=-1, input_map=step.inputs, output_map=step.outputs
        )
    return config


def _text_model(name: str, batch: int, tokenizer_dir: Path, **parameters: str) -> ModelConfig:
    config = _model(name, batch)
    config.backend = "python"
    config.instance_group.add(count=1, kind="KIND_CPU")
    config.dynamic_batching.SetInParent()  # no delay: take what has queued up meanwhile
    _set_parameters(config, {"tokenizer_dir": str(tokenizer_dir), **parameters})
    return config


def _postprocessing(engine: Engine, tokenizer_dir: Path) -> ModelConfig:
    config = _text_model(
        tensors.POSTPROCESSING,
        engine.spec.max_batch_size,
        tokenizer_dir,
        skip_special_tokens="true",
    )
    instances = _POSTPROCESSING_INSTANCES[engine.target]
    config.instance_group[0].count = instances
    # Two that answer as they finish would let the tokens of a stream change places.
    config.dynamic_batching.preserve_ordering = instances > 1
    return config


def _tensorrt_llm(engine: Engine, serving: ServingSpec, tokenizer_dir: Path) -> ModelConfig:
    config = _model(tensors.TENSORRT_LLM, engine.spec.max_batch_size)
    config.backend = _BACKENDS[engine.target]
    config.model_transaction_policy.decoupled = True
    config.instance_group.add(count=1, kind="KIND_CPU")
    config.dynamic_batching.SetInParent()
    _set_parameters(
        config,
        {
            "gpt_model_path": str(engine.directory),
            "tokenizer_dir": str(tokenizer_dir),
            "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
            **scheduling_parameters(serving),
        },
    )
    return config


def scheduling_parameters(serving: ServingSpec) -> dict[str, str]:
    """What the engine's backend is told of scheduling, under the C++ backend's names.

    A prefix cache would make a repeated prompt cheap and the measurement a lie, so reuse is off.
    """
    return {
        "gpt_model_type": serving.batching,
        "batch_scheduler_policy": serving.scheduler_policy,
        "max_tokens_in_paged_kv_cache": str(serving.kv_cache_tokens),
        "enable_chunked_context": str(serving.chunked_context).lower(),
        "enable_kv_cache_reuse": "false",
        "max_beam_width": "1",
        "cancellation_check_period_ms": str(_PERIOD_MS),
        "stats_check_period_ms": str(_PERIOD_MS),
    }


def serving_spec(parameters: Mapping[str, str]) -> ServingSpec:
    """Read back what `scheduling_parameters` wrote."""
    return ServingSpec(
        kv_cache_tokens=int(parameters["max_tokens_in_paged_kv_cache"]),
        scheduler_policy=SchedulerPolicy(parameters["batch_scheduler_policy"]),
        batching=BatchingStrategy(parameters["gpt_model_type"]),
        chunked_context=parameters["enable_chunked_context"] == "true",
    )


def _model(name: str, batch: int) -> ModelConfig:
    config = ModelConfig(name=name, max_batch_size=batch)
    config.input.extend(_input(tensor) for tensor in tensors.INPUTS[name])
    config.output.extend(
        ModelOutput(name=tensor.name, data_type=f"TYPE_{tensor.data_type}", dims=tensor.dims)
        for tensor in tensors.OUTPUTS[name]
    )
    return config


def _input(tensor: Tensor) -> ModelInput:
    entry = ModelInput(
        name=tensor.name,
        data_type=f"TYPE_{tensor.data_type}",
        dims=tensor.dims,
        optional=tensor.optional,
        allow_ragged_batch=tensor.ragged,
    )
    if tensor.scalar:
        entry.reshape.SetInParent()
    return entry


def _set_parameters(config: ModelConfig, parameters: dict[str, str]) -> None:
    for key, value in parameters.items():
        config.parameters[key].string_value = value
