"""From a checkpoint to an engine on hardware, with stand-ins for every tool."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from perfgate.engines.site import read_origin
from perfgate.engines.trt_engine import build_trt_engine
from perfgate.errors import (
    BuildError,
    MissingRequirementError,
)
from perfgate.model import Precision, Target
from perfgate.trtllm import Calibration, Runner
from tests.unit.factories import a_point
from tests.unit.hardware_samples import GB10, a_site, lay_out_models
from tests.unit.hardware_tools import lay_out_tools, ran
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

FP8 = a_point().engine
FP16 = replace(FP8, precision=Precision.FP16)
PATIENCE_S = 60.0
BUILDER = """
import sys
from pathlib import Path
from perfgate.engines.trt_engine import build_trt_engine
from tests.unit.hardware_samples import a_site
from tests.unit.test_hardware_path import FP8

root = Path(sys.argv[1])
print(build_trt_engine(FP8, a_site(root), root / "cache").directory)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with checkpoints, and stand-ins for every tool first on PATH."""
    return lay_out_tools(tmp_path, monkeypatch)


def built(root, spec=FP8, **changes):
    """Build an engine from what lies in `root`."""
    return build_trt_engine(spec, a_site(root, **changes), root / "cache")


def test_an_fp8_engine_is_quantised_then_built_once(root):
    """Two tools in order; the second call takes what the first one made."""
    engine = built(root)

    assert built(root) == engine
    assert [line.split()[0] for line in ran(root)] == ["quantize.py", "trtllm-build"]
    assert (engine.directory / "rank0.engine").is_file()
    assert engine.target is Target.TRT_ENGINE
    assert not engine.simulated


def test_engines_of_one_model_share_its_checkpoint_and_timings(root):
    """Quantising takes longest: another batch size needs no new checkpoint."""
    built(root)
    built(root, replace(FP8, max_batch_size=16))

    assert [line.split()[0] for line in ran(root)] == [
        "quantize.py",
        "trtllm-build",
        "trtllm-build",
    ]
    assert len(list((root / "cache").glob("timing-*.cache"))) == 1


@pytest.mark.parametrize(
    "spec", [FP16, replace(FP16, context_fmha=False)], ids=["fp16", "without fmha"]
)
def test_an_fp16_engine_is_converted_then_built(root, spec):
    """And is what its own config.json says, FMHA included."""
    built(root, spec)

    assert [line.split()[0] for line in ran(root)] == ["convert_checkpoint.py", "trtllm-build"]


@pytest.mark.parametrize("tool", ["QUANTIZEPY", "TRTLLMBUILD"])
def test_a_failing_tool_is_told_with_its_last_words(root, monkeypatch, tool):
    """Status, log tail, where the log is and what ran; no engine, and the next build works."""
    monkeypatch.setenv(f"STANDIN_{tool}", "fails")
    with pytest.raises(BuildError) as failure:
        built(root)

    told = str(failure.value)
    assert "ended with status 1" in told
    assert "CUDA out of memory" in told
    assert "It ran: " in told
    (log,) = (root / "cache" / "logs").glob(f"{'llm-7b' if 'QUANT' in tool else 'fp8'}-*.log")
    assert "CUDA out of memory" in log.read_text()
    assert not list((root / "cache").glob("fp8-b192-*[0-9a-f]"))

    monkeypatch.delenv(f"STANDIN_{tool}")
    assert built(root)


@pytest.mark.parametrize("tool", ["QUANTIZEPY", "TRTLLMBUILD"])
def test_fp16_under_an_fp8_name_never_reaches_the_cache(root, monkeypatch, tool):
    """Whichever tool was silent: the message says what is missing, nothing is kept."""
    monkeypatch.setenv(f"STANDIN_{tool}", "unquantised")

    with pytest.raises(BuildError) as failure:
        built(root)

    assert "asked FP8, got none: the checkpoint has no quant_algo" in str(failure.value)
    assert "`--gemm_plugin fp8` alone does not quantise" in str(failure.value)
    assert not [path for path in (root / "cache").glob("fp8-b192-*") if path.is_dir()]


def test_a_build_without_an_engine_file_is_no_engine(root, monkeypatch):
    """A good config.json beside nothing."""
    monkeypatch.setenv("STANDIN_TRTLLMBUILD", "empty")

    with pytest.raises(BuildError, match=r"holds no rank0\.engine"):
        built(root)


@pytest.mark.parametrize(
    ("folder", "message"),
    [("llama", "the checkpoint .*llama is not there. Download"), ("cnn", "calibration data set")],
)
def test_what_is_missing_is_named_before_anything_runs(root, folder, message):
    """Checkpoint or calibration set: where it was looked for, and what to do."""
    (root / "models" / folder).rename(root / "elsewhere")

    with pytest.raises(MissingRequirementError, match=message):
        built(root)
    assert ran(root) == []


def test_a_linked_data_set_keeps_the_name_that_says_how_to_read_it(root):
    """`quantize.py` takes articles where the path says cnn_dailymail, a column `text` elsewhere."""
    (root / "models" / "cnn_dailymail").symlink_to(root / "models" / "cnn")
    built(root, calibration=Calibration(dataset="cnn_dailymail"))

    (quantised,) = [line for line in ran(root) if line.startswith("quantize.py")]
    assert f"--calib_dataset {root / 'models' / 'cnn_dailymail'}" in quantised


def test_a_machine_without_the_build_tool_is_told_what_to_do(root):
    """TensorRT-LLM of today has none: the other target, or the container."""
    (root / "bin" / "trtllm-build").unlink()

    with pytest.raises(MissingRequirementError, match="--target llmapi, or the container"):
        built(root)


@pytest.mark.parametrize(
    "change",
    [
        {"gpu": replace(GB10, name="NVIDIA H100", compute_capability="9.0")},
        {"container": "own/triton:1"},
        {"environment": {"TLLM_SOMETHING": "1"}},
    ],
    ids=["gpu", "container", "environment"],
)
def test_an_engine_belongs_to_what_it_was_built_with(root, change):
    """Another GPU, version, container or environment is another engine."""
    assert built(root).digest != built(root, **change).digest


def test_a_cached_engine_is_served_as_the_suite_says_today(root, tmp_path_factory):
    """Moved models, or another runner: the engine stays, what is remembered of it follows."""
    engine = built(root)
    moved = tmp_path_factory.mktemp("moved")
    (root / "models").rename(moved / "models")

    again = build_trt_engine(FP8, a_site(moved, runner=Runner.DOCKER), root / "cache")

    assert again == engine
    remembered = read_origin(again.directory)
    assert remembered.checkpoint == moved / "models" / "llama"
    assert remembered.runner is Runner.DOCKER


def test_an_engine_of_another_version_than_pinned_is_refused(root, monkeypatch):
    """The tools on PATH are not those that trtllm.toml says: no flag table was right for them."""
    monkeypatch.setenv("STANDIN_VERSION", "1.2.0")

    with pytest.raises(BuildError, match=r"pins TensorRT-LLM 1\.2\.1, .*built by 1\.2\.0"):
        built(root)

    assert built(root, tensorrt_llm="1.2.0", container="own/triton:1")


def test_other_weights_are_another_engine_another_place_is_not(root, tmp_path_factory):
    """The checkpoint's contents count, not its path."""
    first = built(root)
    elsewhere = lay_out_models(tmp_path_factory.mktemp("elsewhere"))
    assert built(elsewhere).digest == first.digest

    (elsewhere / "models" / "llama" / "model.safetensors").write_bytes(b"others")
    assert built(elsewhere).digest != first.digest


def builder(root):
    """A process of its own that builds the same engine."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, root], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_two_builders_at_once_make_one_build(root):
    """As two xdist workers, or two jobs on one machine."""
    builders = [builder(root) for _ in range(2)]
    told = [one.communicate(timeout=60)[0] for one in builders]

    assert [one.returncode for one in builders] == [0, 0]
    assert told[0] == told[1]
    assert [line.split()[0] for line in ran(root)] == ["quantize.py", "trtllm-build"]


def test_a_killed_build_leaves_no_half_engine_and_no_tool_running(root, monkeypatch):
    """SIGKILL amid trtllm-build: the tool goes too, the cache has no engine, the next is whole."""
    monkeypatch.setenv("STANDIN_TRTLLMBUILD", "hangs")
    process = builder(root)
    eventually(lambda: list((root / "cache").glob(".building-fp8*/config.json")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)

    eventually(lambda: not running("trtllm-build", root))
    assert not [path for path in (root / "cache").glob("fp8-b192-*") if path.is_dir()]
    monkeypatch.delenv("STANDIN_TRTLLMBUILD")
    assert (built(root).directory / "rank0.engine").is_file()
    assert not list((root / "cache").glob(".building-*"))


def eventually(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(tool, root):
    """Whether that tool works in that folder."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if tool in words and str(root / "cache") in words and "standin_tools" in words:
            return True
    return False
