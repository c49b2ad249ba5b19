"""The reference engine as a target: what it needs, how it is named, built and served."""

from dataclasses import replace
from pathlib import Path

import pytest

from perfgate import setting as settings
from perfgate.engines.build import build
from perfgate.engines.layout import read_config, read_reference, read_simulated
from perfgate.errors import BuildError, MissingRequirementError, UsageError
from perfgate.hardware import load_profile
from perfgate.model import EngineSpec, Precision, ServingSpec, Target
from perfgate.serving.process import device_environment
from perfgate.serving.repository import write_repository
from perfgate.targets import Machine, choose

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "hardware"
CPU_PROFILE = ROOT / "examples" / "reference" / "hardware" / "cpu.toml"
LAPTOP = Machine(
    gpu=None,
    tensorrt_llm=None,
    trtllm_build=None,
    tritonserver=None,
    triton_wheel="0.7.0",
    torch="2.13.0",
)
H100 = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"
SPEC = EngineSpec(
    model="tiny",
    precision=Precision.FP8,
    max_batch_size=2,
    max_input_len=64,
    max_seq_len=96,
    max_num_tokens=128,
)


def chosen(machine, *, require_hardware=False):
    """Choose the reference target."""
    return choose("reference", machine, url=None, require_hardware=require_hardware)


def test_the_reference_engine_runs_without_a_gpu():
    """Triton's wheel and PyTorch are all it needs."""
    assert chosen(LAPTOP) is Target.REFERENCE


def test_without_pytorch_the_extra_is_named():
    """Whoever lacks PyTorch is told which extra brings it."""
    with pytest.raises(MissingRequirementError, match=r"perfgate\[reference\]"):
        chosen(replace(LAPTOP, torch=None))


def test_a_cpu_is_no_required_hardware():
    """--require-hardware refuses the reference engine on a CPU, and takes it on a GPU."""
    with pytest.raises(UsageError, match="would run on the CPU"):
        chosen(LAPTOP, require_hardware=True)
    assert chosen(replace(LAPTOP, gpu=H100), require_hardware=True) is Target.REFERENCE


@pytest.fixture
def settled(monkeypatch):
    """Settle the root suite on a machine with this GPU."""

    def settle(gpu, folder=ROOT):
        monkeypatch.setattr(settings, "look", lambda: replace(LAPTOP, gpu=gpu))
        return settings.settle(
            folder,
            target="reference",
            url=None,
            require_hardware=False,
            artifacts=Path("artifacts"),
        )

    return settle


def test_the_profile_is_that_of_the_gpu(settled):
    """A card is known by its name, and its baselines are the reference engine's own."""
    setting = settled(H100)

    assert setting.profile.name == "h100"
    assert setting.hardware == "h100-reference"


def test_a_gpu_without_a_profile_is_refused_by_name(settled):
    """An unknown card is told what is known, not measured under another's name."""
    with pytest.raises(UsageError, match=r"NVIDIA A100.*NVIDIA H100 80GB HBM3"):
        settled("GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-2)")


def test_without_a_gpu_the_profile_is_the_cpus(settled):
    """The example's suite runs on any machine."""
    assert settled(None, ROOT / "examples" / "reference").hardware == "cpu-reference"


@pytest.mark.parametrize("hardware", ["h100", "h100-reference", "h100-sim"])
def test_a_baselines_name_leads_to_its_profile(hardware):
    """A report finds the profile whatever engine was measured on it."""
    assert settings.profile_of(hardware, PROFILES).name == "h100"


def built(target, tmp_path, profile=CPU_PROFILE):
    """Build the tiny engine."""
    return build(SPEC, target=target, profile=load_profile(profile), cache=tmp_path / str(target))


def test_a_reference_engine_is_no_simulated_one(tmp_path):
    """Each kind of engine file opens for its own target only, and says what it is."""
    reference, simulated = (built(one, tmp_path) for one in (Target.REFERENCE, Target.SIM))

    assert read_reference(reference.directory).spec == SPEC
    assert not reference.simulated
    assert read_config(reference.directory)["simulated"] is False
    with pytest.raises(BuildError, match="no simulated engine"):
        read_simulated(reference.directory)
    with pytest.raises(BuildError, match="no reference engine"):
        read_reference(simulated.directory)


@pytest.mark.parametrize(
    ("profile", "device"), [(CPU_PROFILE, "cpu"), (PROFILES / "h100.toml", "cuda")], ids=str
)
def test_the_engine_computes_where_its_profile_says(tmp_path, profile, device):
    """The CPU's profile computes on the CPU, any other on a GPU."""
    engine = built(Target.REFERENCE, tmp_path, profile)

    assert read_reference(engine.directory).device == device


@pytest.mark.parametrize(
    ("target", "package"), [(Target.REFERENCE, "reference"), (Target.SIM, "simulated")], ids=str
)
def test_only_the_engines_model_differs(tmp_path, target, package):
    """The repository of each target loads its own engine between the same other models."""
    engine = built(target, tmp_path)
    serving = ServingSpec(kv_cache_tokens=1024)

    root = write_repository(tmp_path / "served", engine, serving, tmp_path / "tokenizer")

    model = (root / "tensorrt_llm" / "1" / "model.py").read_text()
    assert f"perfgate.serving.{package}.backend" in model
    assert sorted(folder.name for folder in root.iterdir()) == [
        "ensemble",
        "postprocessing",
        "preprocessing",
        "tensorrt_llm",
    ]


def test_only_the_reference_engine_sees_the_gpu(monkeypatch):
    """The simulated target's server is kept off the GPU; the reference engine's gets the first."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert device_environment(Target.SIM) == {}
    assert device_environment(Target.REFERENCE)["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_chosen_gpu_stays_chosen(monkeypatch):
    """CUDA_VISIBLE_DEVICES of whoever started perfgate holds for the engine."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    assert device_environment(Target.REFERENCE)["CUDA_VISIBLE_DEVICES"] == "3"
