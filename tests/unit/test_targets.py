"""Which target runs where, and what an impossible one says."""

from dataclasses import replace

import pytest

from perfgate.errors import MissingRequirementError, UsageError
from perfgate.model import Target
from perfgate.targets import Machine, choose, lacks

pytestmark = pytest.mark.unit

LAPTOP = Machine(
    gpu=None, tensorrt_llm=None, trtllm_build=None, tritonserver=None, triton_wheel="0.7.0"
)
SPARK = replace(
    LAPTOP,
    gpu="GPU 0: NVIDIA GB10",
    tensorrt_llm="1.2.1",
    trtllm_build="/usr/local/bin/trtllm-build",
    tritonserver="/opt/tritonserver/bin/tritonserver",
)


def target(requested="auto", machine=LAPTOP, *, url=None, require_hardware=False):
    """Choose with everything but the words under test at its default."""
    return choose(requested, machine, url=url, require_hardware=require_hardware)


def test_auto_takes_hardware_where_it_is_complete():
    """A runner with GPU, Triton and trtllm-build measures the real engine."""
    assert target(machine=SPARK) is Target.TRT_ENGINE


def test_auto_falls_to_the_llm_api_where_the_build_tool_is_gone():
    """TensorRT-LLM without trtllm-build is served through its LLM API."""
    assert target(machine=replace(SPARK, trtllm_build=None)) is Target.LLMAPI


def test_auto_falls_back_to_the_simulated_target():
    """A machine without a GPU runs the suite on the simulated target."""
    assert target() is Target.SIM


def test_auto_with_a_url_is_remote():
    """Naming a running server is choosing it."""
    assert target(url="grpc://staging:8001") is Target.REMOTE


def test_required_hardware_is_never_simulated():
    """--require-hardware turns a missing GPU into an error that says what is missing."""
    with pytest.raises(MissingRequirementError, match="nvidia-smi -L"):
        target(require_hardware=True)
    with pytest.raises(UsageError, match="simulated target is no hardware"):
        target("sim", require_hardware=True)


def test_a_missing_wheel_names_the_install():
    """The simulated target without its extra says which command installs it."""
    with pytest.raises(MissingRequirementError, match=r"pip install 'perfgate\[sim\]'"):
        target(machine=replace(LAPTOP, triton_wheel=None))


def test_an_unknown_target_lists_the_known_ones():
    """A misspelt target is refused with what may stand there."""
    with pytest.raises(UsageError, match="trt-engine"):
        target("trt")


@pytest.mark.parametrize(("requested", "url"), [("remote", None), ("sim", "grpc://x:1")])
def test_a_url_and_the_remote_target_go_together(requested, url):
    """Neither half of the pair means anything alone."""
    with pytest.raises(UsageError, match="--triton-url"):
        target(requested, url=url)


@pytest.mark.parametrize("name", [t for t in Target if t is not Target.REMOTE], ids=str)
def test_every_local_target_lacks_something_on_a_bare_machine(name):
    """No target claims to run where nothing is installed."""
    assert lacks(name, replace(LAPTOP, triton_wheel=None))


def test_a_container_needs_docker_and_a_gpu_only():
    """Tools and server are in the image that trtllm.toml pins."""
    host = replace(LAPTOP, gpu="GPU 0: NVIDIA GB10", docker="/usr/bin/docker")

    assert choose("auto", host, url=None, require_hardware=True, in_container=True) is (
        Target.TRT_ENGINE
    )
    assert lacks(Target.LLMAPI, host, in_container=True) == ()
    (missing,) = lacks(Target.LLMAPI, replace(host, docker=None), in_container=True)
    assert "docker" in missing
