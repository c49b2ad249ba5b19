"""Every word of every build command is the one upstream documents for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from perfgate.engines import commands
from perfgate.engines.commands import Workshop, container_tools
from perfgate.errors import MissingRequirementError, UsageError
from perfgate.model import EngineSpec, Precision
from perfgate.trtllm import Calibration

pytestmark = pytest.mark.unit

WORKSHOP = Workshop(
    version="1.2.1", tools=container_tools("llama"), environment={"OMPI_ALLOW_RUN_AS_ROOT": "1"}
)
FP8 = EngineSpec(
    model="llm-7b",
    precision=Precision.FP8,
    max_batch_size=192,
    max_input_len=1536,
    max_seq_len=2048,
    max_num_tokens=8192,
)
FP16 = replace(FP8, precision=Precision.FP16)


def engine(spec, workshop=WORKSHOP):
    """The build command of a spec."""
    return commands.engine(
        workshop,
        spec,
        checkpoint=Path("/c/checkpoint"),
        output=Path("/c/engine"),
        timing_cache=Path("/c/timing.cache"),
    )


def flags(command):
    """A command's flags by name."""
    words = command.argv[next(i for i, w in enumerate(command.argv) if w.startswith("--")) :]
    return dict(zip(words[::2], words[1::2], strict=True))


ENGINE = {
    "--checkpoint_dir": "/c/checkpoint",
    "--output_dir": "/c/engine",
    "--max_batch_size": "192",
    "--max_input_len": "1536",
    "--max_seq_len": "2048",
    "--max_num_tokens": "8192",
    "--max_beam_width": "1",
    "--kv_cache_type": "paged",
    "--tokens_per_block": "32",
    "--gemm_plugin": "disable",
    "--gpt_attention_plugin": "auto",
    "--remove_input_padding": "enable",
    "--context_fmha": "enable",
    "--use_paged_context_fmha": "enable",
    "--use_fp8_context_fmha": "enable",
    "--multiple_profiles": "enable",
    "--input_timing_cache": "/c/timing.cache",
    "--output_timing_cache": "/c/timing.cache",
    "--profiling_verbosity": "layer_names_only",
    "--workers": "1",
}


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (FP8, {}),
        (FP16, {"--gemm_plugin": "float16", "--use_fp8_context_fmha": "disable"}),
        (
            replace(FP16, context_fmha=False),
            {
                "--gemm_plugin": "float16",
                "--context_fmha": "disable",
                "--use_paged_context_fmha": "disable",
                "--use_fp8_context_fmha": "disable",
            },
        ),
        (
            replace(FP8, max_batch_size=16, max_num_tokens=4096, tokens_per_block=64),
            {"--max_batch_size": "16", "--max_num_tokens": "4096", "--tokens_per_block": "64"},
        ),
    ],
    ids=["fp8", "fp16", "fp16 without fmha", "other sizes"],
)
def test_the_engine_is_built_with_exactly_these_flags(spec, changes):
    """Sizes, plugins, FMHA and timing cache: nothing more and nothing less."""
    command = engine(spec)

    assert command.argv[0] == "trtllm-build"
    assert flags(command) == {**ENGINE, **changes}


def test_the_fp8_checkpoint_is_quantised_and_calibrated():
    """Weights and KV cache in FP8, in TensorRT-LLM's format, from a fixed seed."""
    command = commands.fp8_checkpoint(
        WORKSHOP,
        source=Path("/m/llama"),
        output=Path("/c/fp8"),
        dataset=Path("/m/cnn"),
        calibration=Calibration(dataset="cnn", samples=256, seed=7),
    )

    assert command.argv[:2] == ("python3", "/app/examples/quantization/quantize.py")
    assert flags(command) == {
        "--model_dir": "/m/llama",
        "--output_dir": "/c/fp8",
        "--dtype": "float16",
        "--qformat": "fp8",
        "--kv_cache_dtype": "fp8",
        "--export_format": "tensorrt_llm",
        "--calib_dataset": "/m/cnn",
        "--calib_size": "256",
        "--seed": "7",
        "--tp_size": "1",
    }


def test_the_fp16_checkpoint_is_converted_only():
    """No quantisation flag stands in it."""
    command = commands.fp16_checkpoint(WORKSHOP, source=Path("/m/llama"), output=Path("/c/fp16"))

    assert command.argv[:2] == ("python3", "/app/examples/models/core/llama/convert_checkpoint.py")
    assert flags(command) == {
        "--model_dir": "/m/llama",
        "--output_dir": "/c/fp16",
        "--dtype": "float16",
        "--tp_size": "1",
    }


def test_the_environment_under_review_reaches_every_tool():
    """MPI's permissions, a preloaded library: what the file says."""
    assert engine(FP8).environment == {"OMPI_ALLOW_RUN_AS_ROOT": "1"}


@pytest.mark.parametrize("version", ["1.3.0", "1.4.0rc1"])
def test_a_version_without_engines_is_found_out_while_planning(version):
    """Before a checkpoint of gigabytes is converted for nothing."""
    with pytest.raises(MissingRequirementError, match="--target llmapi"):
        engine(FP8, replace(WORKSHOP, version=version))


def test_nothing_is_asked_of_the_plugin_that_does_not_quantise():
    """`--gemm_plugin fp8` would change nothing and promise everything."""
    assert flags(engine(FP8))["--gemm_plugin"] != "fp8"


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ({"max_batch_size": 4}, True),
        ({"max_batch_size": 3}, False),
        ({"max_num_tokens": 32}, True),
        ({"max_num_tokens": 31}, False),
        ({"max_num_tokens": 1536, "context_fmha": False}, True),
        ({"max_num_tokens": 1535, "context_fmha": False}, False),
    ],
    ids=str,
)
def test_sizes_that_the_tool_would_change_are_refused(sizes, kept):
    """It warns and builds another engine; that would be found out after the build."""
    spec = replace(FP8, **sizes)
    if kept:
        assert flags(engine(spec))["--max_num_tokens"] == str(spec.max_num_tokens)
        return
    with pytest.raises(UsageError, match=r"max_num_tokens: got .*trtllm-build makes it at least"):
        engine(spec)
