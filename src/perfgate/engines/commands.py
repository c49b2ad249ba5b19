"""EngineSpec -> the commands that build it: pure, checked against the tools' flag tables.

Each raises UsageError naming flag and version if it would not be understood, and
MissingRequirementError if that version of TensorRT-LLM has no such tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perfgate.engines.flags import check_argv
from perfgate.errors import UsageError
from perfgate.model import EngineSpec, Precision
from perfgate.trtllm import Calibration

CONVERT = "convert_checkpoint.py"
QUANTIZE = "quantize.py"
BUILD = "trtllm-build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program to run: argv, and what its environment has beside the inherited one."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """How each tool is called: the first words of its argv. By default as the container has it."""

    convert: tuple[str, ...]
    quantize: tuple[str, ...]
    build: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every command has in common: TensorRT-LLM's version, its tools, their environment."""

    version: str
    tools: Toolbox
    environment: Mapping[str, str]


def container_tools(family: str) -> Toolbox:
    """The tools where NVIDIA's Triton container with TensorRT-LLM has them."""
    examples = "/app/examples"
    return Toolbox(
        convert=("python3", f"{examples}/models/core/{family}/{CONVERT}"),
        quantize=("python3", f"{examples}/quantization/{QUANTIZE}"),
        build=(BUILD,),
    )


def fp16_checkpoint(workshop: Workshop, *, source: Path, output: Path) -> Command:
    """Convert a Hugging Face folder to a TensorRT-LLM checkpoint of 16 bits."""
    arguments = {
        "--model_dir": str(source),
        "--output_dir": str(output),
        "--dtype": "float16",
        "--tp_size": "1",
    }
    return _command(CONVERT, workshop.tools.convert, arguments, workshop)


def fp8_checkpoint(
    workshop: Workshop, *, source: Path, output: Path, dataset: Path, calibration: Calibration
) -> Command:
    """Quantise a Hugging Face folder to a TensorRT-LLM checkpoint, weights and KV cache in FP8."""
    arguments = {
        "--model_dir": str(source),
        "--output_dir": str(output),
        "--dtype": "float16",
        # The default, full_prec, quantises nothing and says nothing.
        "--qformat": "fp8",
        "--kv_cache_dtype": "fp8",
        "--export_format": "tensorrt_llm",
        "--calib_dataset": str(dataset),
        "--calib_size": str(calibration.samples),
        "--seed": str(calibration.seed),
        "--tp_size": "1",
    }
    return _command(QUANTIZE, workshop.tools.quantize, arguments, workshop)


def engine(
    workshop: Workshop, spec: EngineSpec, *, checkpoint: Path, output: Path, timing_cache: Path
) -> Command:
    """Build the engine of `spec` from a TensorRT-LLM checkpoint; `timing_cache` outlives it.

    Raises UsageError for sizes that trtllm-build would change with no more than a warning.
    """
    _require_kept_sizes(spec)
    fp8 = spec.precision is Precision.FP8
    arguments = {
        "--checkpoint_dir": str(checkpoint),
        "--output_dir": str(output),
        "--max_batch_size": str(spec.max_batch_size),
        "--max_input_len": str(spec.max_input_len),
        "--max_seq_len": str(spec.max_seq_len),
        "--max_num_tokens": str(spec.max_num_tokens),
        "--max_beam_width": "1",
        "--kv_cache_type": "paged",
        "--tokens_per_block": str(spec.tokens_per_block),
        # Upstream advises against the plugin on FP8 beyond small batches; FP16 wants it.
        "--gemm_plugin": "disable" if fp8 else "float16",
        "--gpt_attention_plugin": "auto",
        "--remove_input_padding": "enable",
        "--context_fmha": _switch(on=spec.context_fmha),
        # Both are kinds of context FMHA: without it they would turn it on again.
        "--use_paged_context_fmha": _switch(on=spec.context_fmha),
        "--use_fp8_context_fmha": _switch(on=fp8 and spec.context_fmha),
        "--multiple_profiles": "enable",
        # Without it a rebuild times kernels anew, picks others, and the baseline moves.
        "--input_timing_cache": str(timing_cache),
        "--output_timing_cache": str(timing_cache),
        "--profiling_verbosity": "layer_names_only",
        "--workers": "1",
    }
    return _command(BUILD, workshop.tools.build, arguments, workshop)


def _require_kept_sizes(spec: EngineSpec) -> None:
    """Refuse what `check_max_num_tokens` of tensorrt_llm/_utils.py and builder.py lower or raise.

    Found in the engine's config.json, it would have cost the build.
    """
    most = spec.max_seq_len * spec.max_batch_size
    least = spec.tokens_per_block if spec.context_fmha else spec.max_input_len
    if not least <= spec.max_num_tokens <= most:
        rule = (
            f"{BUILD} makes it at least {least} and at most max_seq_len x max_batch_size = {most}"
        )
        raise UsageError("max_num_tokens", spec.max_num_tokens, rule)


def _command(
    tool: str, program: tuple[str, ...], arguments: Mapping[str, str], workshop: Workshop
) -> Command:
    words = tuple(word for pair in arguments.items() for word in pair)
    check_argv(tool, workshop.version, words)
    return Command(name=tool, argv=(*program, *words), environment=dict(workshop.environment))


def _switch(*, on: bool) -> str:
    return "enable" if on else "disable"
