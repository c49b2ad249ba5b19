"""The LLM API's engine is a folder whose precision was read, never believed."""

from dataclasses import replace

import pytest

from perfgate.engines.build import build
from perfgate.engines.layout import read_config
from perfgate.engines.llmapi import quantisation
from perfgate.errors import BuildError, MissingRequirementError, UsageError
from perfgate.model import Precision, Target
from perfgate.trtllm import ModelSource
from tests.unit.factories import a_point
from tests.unit.hardware_samples import a_site, lay_out_models
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

FP8 = a_point().engine
FP16 = replace(FP8, precision=Precision.FP16)


@pytest.fixture
def root(tmp_path):
    """A folder with checkpoints."""
    return lay_out_models(tmp_path)


def llmapi(root, spec=FP8, **changes):
    """The engine of the target llmapi."""
    site = a_site(root, **changes)
    return build(spec, target=Target.LLMAPI, profile=gb10(), cache=root / "cache", site=site)


@pytest.mark.parametrize(("spec", "folder"), [(FP8, "llama-fp8"), (FP16, "llama")], ids=str)
def test_the_llm_api_serves_the_folder_of_its_precision(root, spec, folder):
    """Nothing is built; what is served is written down in an engine's form."""
    engine = llmapi(root, spec)

    assert llmapi(root, spec) == engine
    assert str(root / "models" / folder) in (engine.directory / "perfgate.json").read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("hf_quant_config.json", None, "asked FP8, got none"),
        ("hf_quant_config.json", '{"quantization": {"quant_algo": "NVFP4"}}', "got NVFP4"),
        ("hf_quant_config.json", "{", "is damaged"),
        (
            "hf_quant_config.json",
            '{"quantization": {"quant_algo": "FP8", "weight_block_size": [128, 128]}}',
            "block scales",
        ),
        ("config.json", None, "is no engine directory|has no config.json"),
    ],
    ids=["not quantised", "another format", "damaged", "block scales", "no config"],
)
def test_a_folder_of_another_precision_is_refused(root, name, text, message):
    """Read from what ModelOpt wrote, before a server loads it."""
    path = root / "models" / "llama-fp8" / name
    path.unlink() if text is None else path.write_text(text)

    with pytest.raises(BuildError, match=message):
        llmapi(root)


@pytest.mark.parametrize(
    ("described", "gemm", "cache"),
    [
        ('{"quant_method": "modelopt", "quant_algo": "FP8"}', "FP8", "FP8"),
        ('{"quant_method": "fp8"}', "FP8", "FP8"),
        ('{"quant_algo": "FP8", "kv_cache_quant_algo": "INT8"}', "FP8", "INT8"),
    ],
    ids=["ModelOpt", "by its method", "a cache of its own"],
)
def test_precision_in_config_json_is_read_as_well(root, described, gemm, cache):
    """Newer exports describe their quantisation there; the algorithm may be the method's name."""
    folder = root / "models" / "llama-fp8"
    (folder / "hf_quant_config.json").unlink()
    (folder / "config.json").write_text(f'{{"quantization_config": {described}}}')

    assert quantisation(folder) == {"quant_algo": gemm, "kv_cache_quant_algo": cache}


def test_the_llm_api_has_no_engine_without_fused_attention(root):
    """The point belongs to the other target, and the message says so."""
    with pytest.raises(UsageError, match=r"context_fmha: .*--target trt-engine"):
        llmapi(root, replace(FP16, context_fmha=False))


def test_a_missing_folder_is_named(root):
    """With what to do."""
    (root / "models" / "llama-fp8").rename(root / "elsewhere")

    with pytest.raises(MissingRequirementError, match=r"llama-fp8 is not there\. Download"):
        llmapi(root)


def test_fp8_without_a_modelopt_folder_is_refused(root):
    """The LLM API does not quantise: the field that must name one is named."""
    models = {"llm-7b": ModelSource(checkpoint="llama")}

    with pytest.raises(UsageError, match=r"models\.llm-7b\.fp8_checkpoint.*ModelOpt"):
        llmapi(root, models=models)


@pytest.mark.parametrize(
    "change",
    [{"container": "own/triton:1"}, {"tensorrt_llm": "1.1.0", "container": "own/triton:1"}],
    ids=["container", "version"],
)
def test_another_version_or_container_is_another_engine(root, change):
    """What serves the folder is part of its name."""
    assert llmapi(root).digest != llmapi(root, **change).digest


def test_what_is_written_down_has_the_form_of_an_engine_s(root):
    """So that the suite's own questions about engines are answered: sizes, precision, version."""
    config = read_config(llmapi(root).directory)

    assert config["version"] == "1.2.1"
    assert config["pretrained_config"] == {
        "dtype": "float16",
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    }
    assert config["build_config"]["max_batch_size"] == 192
    assert config["build_config"]["kv_cache_type"] == "PAGED"
