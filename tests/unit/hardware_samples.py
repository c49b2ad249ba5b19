"""A made-up suite with hardware: configuration, GPU, and checkpoints of a few bytes."""

from __future__ import annotations

import json
import shutil

from perfgate.engines.site import Site
from perfgate.gpus import Gpu
from perfgate.serving.tokenizer import load_tokenizer, save_tokenizer
from perfgate.trtllm import Calibration, ModelSource, Runner, TrtllmConfig
from tests.unit.planted import ROOT

GB10 = Gpu(index=0, name="NVIDIA GB10", compute_capability="12.1", driver="580.95.05")
MODELOPT = {
    "producer": {"name": "modelopt", "version": "0.33.0"},
    "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": []},
}


def a_config(runner=Runner.LOCAL, **changes):
    """What trtllm.toml says."""
    values = {
        "tensorrt_llm": "1.2.1",
        "tritonserver": "26.07",
        "container": "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3",
        "models": {"llm-7b": ModelSource(checkpoint="llama", fp8_checkpoint="llama-fp8")},
        "calibration": Calibration(dataset="cnn"),
        "runner": runner,
        "environment": {"OMPI_ALLOW_RUN_AS_ROOT": "1"},
    }
    return TrtllmConfig(**{**values, **changes})


def a_site(root, gpu=GB10, **changes):
    """The site of a suite in `root`."""
    return Site.at(root, a_config(**changes), gpu)


def lay_out_models(root):
    """The checkpoints and the data set that the configuration names, each with a tokenizer."""
    for name, quantised in (("llama", None), ("llama-fp8", MODELOPT)):
        folder = root / "models" / name
        save_tokenizer(load_tokenizer(), folder)
        (folder / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16"}))
        (folder / "model.safetensors").write_bytes(b"weights of " + name.encode())
        if quantised:
            (folder / "hf_quant_config.json").write_text(json.dumps(quantised))
    (root / "models" / "cnn").mkdir()
    (root / "models" / "cnn" / "train.parquet").write_bytes(b"news")
    return root


def lay_out_suite(root):
    """The suite's files under review, its own trtllm.toml too."""
    for name in ("points.toml", "policy.toml", "trtllm.toml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "hardware", root / "hardware")
    return root
