"""trtllm.toml pins what engines are made of, and leads nowhere outside its folder."""

import pytest

from perfgate.errors import UsageError
from perfgate.trtllm import (
    Calibration,
    ModelSource,
    Runner,
    TrtllmConfig,
    container_versions,
    load_trtllm,
)
from tests.unit.factories import a_point
from tests.unit.hardware_samples import a_config
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

TEXT = (ROOT / "trtllm.toml").read_text()


def changed(tmp_path, old, new):
    """The suite's own file with one piece of it replaced."""
    assert old in TEXT
    (tmp_path / "trtllm.toml").write_text(TEXT.replace(old, new, 1))
    return load_trtllm(tmp_path)


def test_the_suite_s_own_file_names_every_model_that_is_measured():
    """And pins a container that holds the TensorRT-LLM it says."""
    config = load_trtllm(ROOT)

    assert config.source(a_point().engine).checkpoint
    assert container_versions(config.container)["tensorrt-llm"] == config.tensorrt_llm


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tensorrt_llm = "1.2.1"', 'tensorrt_llm = "newest"', "it must be a version"),
        (
            'tensorrt_llm = "1.2.1"',
            'tensorrt_llm = "1.1.0"',
            r"26\.07-trtllm-python-py3 holds 1\.2",
        ),
        ('tritonserver = "26.07"', 'tritonserver = "26.06"', r"tritonserver: got '26\.06'"),
        (":26.07-trtllm-python-py3", ":latest", "pin it by a tag"),
        (":26.07-trtllm-python-py3", "", "pin it by a tag"),
        ('runner = "local"', 'runner = "podman"', "runner"),
        ('"Llama-3.1-8B-Instruct" ', '"../secrets" ', r"without '\.\.'"),
        ('"Llama-3.1-8B-Instruct-FP8"', '"/etc"', "a folder under models/"),
        ('dataset = "cnn_dailymail"', 'dataset = "a/../../b"', r"dataset.*without '\.\.'"),
        ("samples = 512", "samples = 0", "samples: got 0"),
        ('family = "llama"', 'family = "../x"', "family: got"),
        ("[calibration]", "[calibrations]", "calibration"),
    ],
    ids=lambda value: value[:30],
)
def test_what_breaks_a_rule_is_named_with_its_file(tmp_path, old, new, message):
    """File, field, value and rule; before anything is built."""
    with pytest.raises(UsageError, match=message) as failure:
        changed(tmp_path, old, new)
    assert "trtllm.toml" in str(failure.value)


def test_a_model_without_a_source_lists_the_known_ones():
    """A point whose model nobody said where to find."""
    with pytest.raises(UsageError, match=r"\[models\.llm-7b\] \(it has other\)"):
        a_config(models={"other": ModelSource(checkpoint="x")}).source(a_point().engine)


def test_a_digest_pins_as_well_as_a_tag():
    """A container of one's own is taken on trust: the table knows NVIDIA's only."""
    config = TrtllmConfig(
        tensorrt_llm="1.1.0",
        tritonserver="26.07",
        container="registry.example/triton@sha256:0123",
        models={},
        calibration=Calibration(dataset="x"),
    )

    assert config.runner is Runner.LOCAL
    assert container_versions(config.container) == {}


def test_a_missing_file_is_a_usage_error(tmp_path):
    """A suite without hardware has none; asked for hardware it says so."""
    with pytest.raises(UsageError, match=r"trtllm\.toml"):
        load_trtllm(tmp_path)
