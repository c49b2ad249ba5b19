"""The engine directory as TensorRT-LLM lays it out: `config.json` and `rank0.engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from perfgate import codec
from perfgate.errors import BuildError
from perfgate.hardware import HardwareProfile
from perfgate.model import EngineSpec

CONFIG_FILE = "config.json"
ENGINE_FILE = "rank0.engine"
# Opens every simulated engine file: no TensorRT plan can start like this.
MAGIC = "PERFGATE SIMULATED ENGINE: no weights, no kernels, not for a GPU"


REFERENCE_MAGIC = "PERFGATE REFERENCE ENGINE: random weights, drawn when it is loaded"
CPU = "cpu"
_SEED = 1


class ReferenceEngine(msgspec.Struct, frozen=True, kw_only=True):
    """The text inside a reference `rank0.engine`: its weights follow from shape and seed."""

    magic: str
    spec: EngineSpec
    profile: HardwareProfile
    device: str
    seed: int


class SimulatedEngine(msgspec.Struct, frozen=True, kw_only=True):
    """The text inside a simulated `rank0.engine`: all the simulated backend needs to know."""

    magic: str
    spec: EngineSpec
    profile: HardwareProfile


def read_config(directory: Path) -> dict[str, Any]:
    """Read `config.json`; BuildError if the directory holds none or it is damaged."""
    path = directory / CONFIG_FILE
    try:
        config: Any = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"{directory} is no engine directory: it has no {CONFIG_FILE}"
        raise BuildError(msg) from error
    except msgspec.DecodeError as error:
        msg = f"{path} is damaged: {error}. Remove {directory} and build again."
        raise BuildError(msg) from error
    if not isinstance(config, dict):
        raise BuildError(f"{path} holds no JSON object. Remove {directory} and build again.")
    return config


def read_simulated(directory: Path) -> SimulatedEngine:
    """Read a simulated `rank0.engine`.

    Raises BuildError for anything else, a real TensorRT engine above all.
    """
    path = directory / ENGINE_FILE
    data = path.read_bytes()
    if not data.startswith(_opening(MAGIC)):
        msg = f"{path} is no simulated engine: only the target `sim` can serve simulated ones"
        raise BuildError(msg)
    return codec.from_json(data, SimulatedEngine, origin=str(path))


def write_simulated(
    directory: Path, spec: EngineSpec, profile: HardwareProfile, version: str
) -> None:
    """Write both files of a simulated engine into an existing directory."""
    engine = SimulatedEngine(magic=MAGIC, spec=spec, profile=profile)
    config = simulated_config(spec, profile, version)
    codec.write_atomic(directory / ENGINE_FILE, msgspec.json.encode(engine))
    codec.write_atomic(directory / CONFIG_FILE, codec.to_pretty_json(config))


def simulated_config(spec: EngineSpec, profile: HardwareProfile, version: str) -> dict[str, Any]:
    """The `config.json` TensorRT-LLM would write for this spec, and the field that says it did not.

    Source: `tensorrt_llm/builder.py` and `plugin/plugin.py` of TensorRT-LLM 1.2.
    """
    model = profile.require_simulation().model
    algorithm = "FP8" if spec.precision == "fp8" else None
    return {
        "version": f"perfgate-{version}",
        "simulated": True,
        "simulated_hardware": profile.name,
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": "float16",
            "vocab_size": model.vocab,
            "num_hidden_layers": model.layers,
            "hidden_size": model.hidden,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.kv_heads,
            "intermediate_size": model.ffn,
            "mapping": {"world_size": 1, "tp_size": 1, "pp_size": 1},
            "quantization": {"quant_algo": algorithm, "kv_cache_quant_algo": algorithm},
        },
        "build_config": {
            "max_batch_size": spec.max_batch_size,
            "max_input_len": spec.max_input_len,
            "max_seq_len": spec.max_seq_len,
            "max_num_tokens": spec.max_num_tokens,
            "opt_num_tokens": spec.max_batch_size,
            "max_beam_width": 1,
            "kv_cache_type": "PAGED",
            "strongly_typed": True,
            "plugin_config": {
                "gemm_plugin": None if algorithm else "float16",
                "gpt_attention_plugin": "auto",
                "context_fmha": spec.context_fmha,
                "paged_kv_cache": True,
                "remove_input_padding": True,
                "tokens_per_block": spec.tokens_per_block,
                "use_fp8_context_fmha": bool(algorithm) and spec.context_fmha,
                "use_paged_context_fmha": spec.context_fmha,
                "multiple_profiles": True,
            },
        },
    }


def read_reference(directory: Path) -> ReferenceEngine:
    """Read a reference `rank0.engine`; raises BuildError for anything else."""
    path = directory / ENGINE_FILE
    data = path.read_bytes()
    if not data.startswith(_opening(REFERENCE_MAGIC)):
        msg = f"{path} is no reference engine: only the target `reference` can serve those"
        raise BuildError(msg)
    return codec.from_json(data, ReferenceEngine, origin=str(path))


def write_reference(
    directory: Path, spec: EngineSpec, profile: HardwareProfile, version: str
) -> None:
    """Write both files of a reference engine into an existing directory."""
    engine = ReferenceEngine(
        magic=REFERENCE_MAGIC,
        spec=spec,
        profile=profile,
        device=CPU if profile.name == CPU else "cuda",
        seed=_SEED,
    )
    config = simulated_config(spec, profile, version)
    del config["simulated_hardware"]
    config |= {"simulated": False, "reference_device": engine.device}
    codec.write_atomic(directory / ENGINE_FILE, msgspec.json.encode(engine))
    codec.write_atomic(directory / CONFIG_FILE, codec.to_pretty_json(config))


def _opening(magic: str) -> bytes:
    return b'{"magic":' + msgspec.json.encode(magic)
