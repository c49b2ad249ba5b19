"""Stand-ins for the tools of a build: they parse what upstream's parse, and fail when told to.

Run as `python standin_tools.py TOOL ARGV...`. Their argument parsers are written down apart from
perfgate's own flag tables, from upstream's sources. STANDIN_<TOOL> (upper case, letters only) says
how one behaves: `ok`, `fails`, `unquantised`, `hangs` or `empty`. STANDIN_LOG names a file for a
line per run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

SWITCH = ("enable", "disable")
DTYPES = ("auto", "float16", "bfloat16", "float32")


def quantize(argv, how):
    """Write a TensorRT-LLM checkpoint, quantised if asked to."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--qformat", default="full_prec", choices=("fp8", "nvfp4", "full_prec"))
    parser.add_argument("--kv_cache_dtype", choices=("int8", "fp8"))
    parser.add_argument("--export_format", default="tensorrt_llm", choices=("tensorrt_llm", "hf"))
    parser.add_argument("--calib_dataset")
    parser.add_argument("--calib_size", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--tp_size", type=int)
    given = parser.parse_args(argv)
    assert list(Path(given.calib_dataset).iterdir()), "nothing to calibrate on"
    fp8 = given.qformat == "fp8" and how != "unquantised"
    kv_cache = {"fp8": "FP8", None: None}[given.kv_cache_dtype] if fp8 else None
    write_checkpoint(given, "FP8" if fp8 else None, kv_cache)


def convert(argv, how):
    """Write a TensorRT-LLM checkpoint of 16 bits."""
    del how
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--tp_size", type=int)
    write_checkpoint(parser.parse_args(argv), None, None)


def write_checkpoint(given, algorithm, kv_cache):
    """Lay a checkpoint out as TensorRT-LLM does."""
    weights = (Path(given.model_dir) / "model.safetensors").read_bytes()
    folder = Path(given.output_dir)
    folder.mkdir(exist_ok=True)
    config = {
        "architecture": "LlamaForCausalLM",
        "dtype": given.dtype,
        "quantization": {"quant_algo": algorithm, "kv_cache_quant_algo": kv_cache},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "rank0.safetensors").write_bytes(weights)


def build(argv, how):
    """Write an engine whose precision is its checkpoint's, whatever the plugin is called."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--checkpoint_dir", "--output_dir", "--input_timing_cache"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--output_timing_cache", default="model.cache")
    for size in ("batch_size", "input_len", "seq_len", "num_tokens", "beam_width"):
        parser.add_argument(f"--max_{size}", type=int)
    parser.add_argument("--tokens_per_block", type=int, default=64)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--kv_cache_type", choices=("continuous", "paged", "disabled"))
    parser.add_argument("--profiling_verbosity", choices=("layer_names_only", "detailed", "none"))
    parser.add_argument("--gemm_plugin", choices=("auto", "float16", "fp8", "disable"))
    parser.add_argument("--gpt_attention_plugin", choices=("auto", "float16", "disable"))
    for flag in ("context_fmha", "use_paged_context_fmha", "use_fp8_context_fmha"):
        parser.add_argument(f"--{flag}", choices=SWITCH, default="enable")
    parser.add_argument("--remove_input_padding", choices=SWITCH, default="enable")
    parser.add_argument("--multiple_profiles", choices=SWITCH, default="disable")
    given = parser.parse_args(argv)
    folder = Path(given.output_dir)
    pretrained = json.loads((Path(given.checkpoint_dir) / "config.json").read_text())
    if how == "unquantised":
        pretrained["quantization"] = {"quant_algo": None, "kv_cache_quant_algo": None}
    config = {
        "version": os.environ.get("STANDIN_VERSION", "1.2.1"),
        "pretrained_config": pretrained,
        "build_config": build_config(given),
    }
    Path(given.output_timing_cache).write_text("timings")
    (folder / "config.json").write_text(json.dumps(config))
    if how == "hangs":
        time.sleep(600)
    if how != "empty":
        (folder / "rank0.engine").write_bytes(b"ftrt plan")


def build_config(given):
    """The part of `config.json` that follows the flags."""
    names = ("context_fmha", "use_paged_context_fmha", "use_fp8_context_fmha")
    switches = {
        name: getattr(given, name) == "enable"
        for name in (*names, "remove_input_padding", "multiple_profiles")
    }
    return {
        **{
            f"max_{size}": getattr(given, f"max_{size}")
            for size in ("batch_size", "input_len", "seq_len", "num_tokens", "beam_width")
        },
        "kv_cache_type": (given.kv_cache_type or "paged").upper(),
        "plugin_config": {
            **switches,
            "gemm_plugin": None if given.gemm_plugin == "disable" else given.gemm_plugin,
            "tokens_per_block": given.tokens_per_block,
        },
    }


def nvidia_smi(argv, how):
    """List the GPUs of the machine, as many as STANDIN_GPUS says."""
    del how
    gpus = range(int(os.environ.get("STANDIN_GPUS", "1")))
    name = os.environ.get("STANDIN_GPU", "NVIDIA GB10")
    if argv == ["-L"]:
        sys.stdout.writelines(f"GPU {index}: {name} (UUID: GPU-{index})\n" for index in gpus)
    elif argv[0] == "--query-gpu=index,name,compute_cap,driver_version,uuid":
        sys.stdout.writelines(f"{index}, {name}, 12.1, 580.95.05, GPU-{index}\n" for index in gpus)
    else:
        sys.exit(f"unknown query {argv}")


def docker(argv, how):
    """Run the command here, where its folders have the path they would have in the container."""
    del how
    if argv[0] == "run":
        image = next(i for i, word in enumerate(argv) if "tritonserver:" in word)
        added = [word.removeprefix("--env=") for word in argv[:image] if word.startswith("--env=")]
        words = argv[image + 1 :]
        program = words[1] if words[0] == "python3" else words[0]
        environment = {**os.environ, **dict(pair.split("=", 1) for pair in added)}
        found = shutil.which(Path(program).name)
        rest = words[2:] if words[0] == "python3" else words[1:]
        sys.exit(subprocess.run([found, *rest], env=environment, check=False).returncode)


TOOLS = {
    "quantize.py": quantize,
    "convert_checkpoint.py": convert,
    "trtllm-build": build,
    "nvidia-smi": nvidia_smi,
    "docker": docker,
}


def main(tool, argv):
    """Note the run, then behave as told."""
    how = os.environ.get("STANDIN_" + re.sub(r"[^A-Z]", "", tool.upper()), "ok")
    if log := os.environ.get("STANDIN_LOG"):
        with Path(log).open("a") as file:
            file.write(" ".join([tool, *argv]) + "\n")
    if how == "fails":
        sys.stdout.write("[TRT-LLM] [I] loading weights\n")
        sys.exit("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB")
    TOOLS[tool](argv, how)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
