"""The target llmapi: a Hugging Face or ModelOpt folder, checked, and what is asked of it.

Nothing is compiled: TensorRT-LLM's LLM API loads the folder itself. The engine directory holds a
`config.json` in the same form as an engine's, whose precision is the folder's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from perfgate import codec
from perfgate.engines.cache import cached, digest
from perfgate.engines.inspect import check_engine
from perfgate.engines.layout import CONFIG_FILE, read_config
from perfgate.engines.site import Site, folder_digest, keep_origin, origin, require_folder
from perfgate.errors import BuildError, UsageError
from perfgate.model import Engine, EngineSpec, Precision, Target

# 1: config.json and perfgate.json.
FORMAT_VERSION = 1
MODELOPT_FILE = "hf_quant_config.json"


def build_llmapi_engine(spec: EngineSpec, site: Site, cache: Path) -> Engine:
    """Check the model's folder at `site` and write down what is to be served.

    Raises MissingRequirementError if the folder is not there, BuildError if its precision is not
    what `spec` asks for, UsageError for a spec that the LLM API cannot run.
    """
    require_fused_attention(spec)
    folder = require_folder(
        source_folder(spec, site), "the checkpoint", "Download the model there, or link it."
    )
    name = digest(
        format=FORMAT_VERSION,
        target=Target.LLMAPI,
        spec=spec,
        source=folder_digest(folder),
        tensorrt_llm=site.config.tensorrt_llm,
        container=site.config.container,
        gpu=(site.gpu.name, site.gpu.compute_capability),
    )

    def write(unfinished: Path) -> None:
        config = served_config(spec, quantisation(folder), site.config.tensorrt_llm)
        check_engine(config, spec)
        codec.write_atomic(unfinished / CONFIG_FILE, codec.to_pretty_json(config))

    directory = cached(cache, f"{spec.name}-{name}", write)
    check_engine(read_config(directory), spec)
    keep_origin(directory, origin(site, folder))
    return Engine(spec=spec, target=Target.LLMAPI, directory=directory.resolve(), digest=name)


def require_fused_attention(spec: EngineSpec) -> None:
    """Refuse a spec without fused attention: the LLM API knows no other."""
    if not spec.context_fmha:
        rule = "the LLM API always uses fused attention; measure this point on --target trt-engine"
        raise UsageError("context_fmha", spec.context_fmha, rule)


def source_folder(spec: EngineSpec, site: Site) -> Path:
    """The folder to load: for FP8 the ModelOpt one, since the LLM API does not quantise."""
    if spec.precision is Precision.FP16:
        return site.checkpoint(spec)
    folder = site.fp8_checkpoint(spec)
    if folder is None:
        rule = "the LLM API needs a ModelOpt folder for FP8; name it in trtllm.toml"
        raise UsageError(f"models.{spec.model}.fp8_checkpoint", None, rule)
    return folder


def quantisation(folder: Path) -> dict[str, str | None]:
    """What a Hugging Face folder says of its precision: GEMM layers and KV cache.

    ModelOpt writes `hf_quant_config.json`, newer exports `quantization_config` in `config.json`.
    Raises BuildError if the folder has no `config.json`, or block scales, which GB10 runs badly.
    """
    config = read_config(folder)
    described: dict[str, Any] = config.get("quantization_config") or {}
    path = folder / MODELOPT_FILE
    if path.is_file():
        try:
            described = msgspec.json.decode(path.read_bytes())["quantization"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise BuildError(f"{path} is damaged: {error}. Download the model again.") from error
    if described.get("weight_block_size"):
        msg = f"{folder} has FP8 block scales: use a ModelOpt export with per-tensor scales"
        raise BuildError(msg)
    algorithm = described.get("quant_algo") or _method(described)
    return {
        "quant_algo": algorithm,
        # A cache without scales of its own is quantised with scale 1 when FP8 is asked for.
        "kv_cache_quant_algo": described.get("kv_cache_quant_algo") or algorithm,
    }


def served_config(
    spec: EngineSpec, quantised: dict[str, str | None], version: str
) -> dict[str, Any]:
    """What the LLM API will be asked to serve, in the form of an engine's `config.json`."""
    fp8 = quantised["quant_algo"] == "FP8"
    return {
        "version": version,
        "pretrained_config": {"dtype": "float16", "quantization": quantised},
        "build_config": {
            "max_batch_size": spec.max_batch_size,
            "max_input_len": spec.max_input_len,
            "max_seq_len": spec.max_seq_len,
            "max_num_tokens": spec.max_num_tokens,
            "max_beam_width": 1,
            "kv_cache_type": "PAGED",
            "plugin_config": {
                "context_fmha": True,
                "use_paged_context_fmha": True,
                "use_fp8_context_fmha": fp8,
                "gemm_plugin": None if fp8 else "float16",
                "remove_input_padding": True,
                "multiple_profiles": True,
                "tokens_per_block": spec.tokens_per_block,
            },
        },
    }


def _method(described: dict[str, Any]) -> str | None:
    method = described.get("quant_method")
    return str(method).upper() if method else None
