"""Is the engine what was asked for? Answered from `config.json`, for real and simulated alike.

A build can succeed and still give another engine: an FP16 checkpoint built with
`--gemm_plugin fp8` computes in FP16. So nothing is served before it was checked.
"""

from __future__ import annotations

from typing import Any

from perfgate.errors import BuildError
from perfgate.model import EngineSpec, Precision

_PRETRAINED = "pretrained_config"
_PLUGINS = "build_config.plugin_config"
_UNQUANTISED_ADVICE = (
    "the checkpoint has no quant_algo; `--gemm_plugin fp8` alone does not quantise. "
    "Make an FP8 checkpoint with `quantize.py --qformat fp8 --kv_cache_dtype fp8` and build that"
)
_QUANTISED_ADVICE = "the checkpoint is quantised: build from the FP16 checkpoint"
_BUILD_ADVICE = "build again with the flags of this spec"


def check_engine(config: dict[str, Any], spec: EngineSpec) -> None:
    """Raise BuildError, naming field, asked and got, unless `config` is of the engine `spec` asks.

    Checked are GEMM and KV-cache precision, sizes, KV-cache type, plugins, FMHA and block size.
    """
    _check_precision(config, "quant_algo", spec.precision)
    _check_precision(config, "kv_cache_quant_algo", spec.precision)
    for field, asked in _expected(spec).items():
        got = _lookup(config, field)
        if got != asked:
            raise BuildError(f"{spec.name}: asked {field} {asked}, got {got}: {_BUILD_ADVICE}")


def check_checkpoint(config: dict[str, Any], spec: EngineSpec) -> None:
    """Raise BuildError unless a TensorRT-LLM checkpoint's `config` has the precision of `spec`.

    Found here, a checkpoint that was not quantised costs minutes; found in the engine, an hour.
    """
    for name in ("quant_algo", "kv_cache_quant_algo"):
        _check_precision({_PRETRAINED: config}, name, spec.precision)


def check_version(config: dict[str, Any], version: str) -> None:
    """Raise BuildError unless the engine was built by the TensorRT-LLM that trtllm.toml pins."""
    got = _lookup(config, "version")
    if got != version:
        msg = (
            f"trtllm.toml pins TensorRT-LLM {version}, but the engine was built by {got}: correct"
            " the file, or build where that version is"
        )
        raise BuildError(msg)


def _check_precision(config: dict[str, Any], name: str, precision: Precision) -> None:
    asked = "FP8" if precision is Precision.FP8 else None
    got = _lookup(config, f"{_PRETRAINED}.quantization.{name}")
    if got == asked:
        return
    what = "" if name == "quant_algo" else " for the KV cache"
    advice = _QUANTISED_ADVICE if got else _UNQUANTISED_ADVICE
    raise BuildError(f"asked {asked or 'FP16'}{what}, got {got or 'none'}: {advice}")


def _expected(spec: EngineSpec) -> dict[str, object]:
    fp8 = spec.precision is Precision.FP8
    return {
        f"{_PRETRAINED}.dtype": "float16",
        "build_config.max_batch_size": spec.max_batch_size,
        "build_config.max_input_len": spec.max_input_len,
        "build_config.max_seq_len": spec.max_seq_len,
        "build_config.max_num_tokens": spec.max_num_tokens,
        "build_config.max_beam_width": 1,
        "build_config.kv_cache_type": "PAGED",
        f"{_PLUGINS}.context_fmha": spec.context_fmha,
        f"{_PLUGINS}.use_paged_context_fmha": spec.context_fmha,
        f"{_PLUGINS}.use_fp8_context_fmha": fp8 and spec.context_fmha,
        f"{_PLUGINS}.gemm_plugin": None if fp8 else "float16",
        f"{_PLUGINS}.remove_input_padding": True,
        f"{_PLUGINS}.multiple_profiles": True,
        f"{_PLUGINS}.tokens_per_block": spec.tokens_per_block,
    }


def _lookup(config: dict[str, Any], path: str) -> object:
    """The value at a dotted path; BuildError if the file lacks it."""
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            msg = f"config.json has no {path}: it was written by an unknown version of TensorRT-LLM"
            raise BuildError(msg)
        value = value[key]
    found: object = value
    return found
