"""The doctor: what it finds, what it calls missing, and what it calls normal."""

import json
from dataclasses import replace

import pynvml
import pytest
from typer.testing import CliRunner

from perfgate import cli, codec
from perfgate.model import Target
from perfgate.observe.doctor import diagnose, diagnosis_text
from perfgate.observe.fake_nvml import FakeNvml, gb10, h100
from perfgate.observe.surroundings import (
    Container,
    Memory,
    Surroundings,
    look_at_container,
    look_at_gpus,
    look_at_memory,
    parse_meminfo,
)
from perfgate.targets import Machine
from tests.unit.hardware_samples import lay_out_suite

pytestmark = pytest.mark.unit

BARE = Machine(gpu=None, tensorrt_llm=None, trtllm_build=None, tritonserver=None, triton_wheel=None)
SPARK = replace(
    BARE,
    gpu="GPU 0: NVIDIA GB10",
    tensorrt_llm="1.2.1",
    trtllm_build="/usr/local/bin/trtllm-build",
    tritonserver="/opt/tritonserver/bin/tritonserver",
)
MEMINFO = "MemTotal:       125452024 kB\nMemFree: 1 kB\nMemAvailable:   104857600 kB\n"


def around(library=None, **changes):
    """The surroundings of a machine with the library's GPUs."""
    gpus, no_gpus = look_at_gpus(library or FakeNvml())
    found = Surroundings(
        system="Linux 6.11 aarch64",
        python="3.12.3",
        gpus=gpus,
        no_gpus=no_gpus,
        memory=parse_meminfo(MEMINFO),
        container=Container(runtime=None, nvidia_toolkit=None, inside=False, image=None),
        nsys=None,
    )
    return replace(found, **changes)


def told(machine, surroundings):
    """The text on a machine."""
    return diagnosis_text(diagnose(machine, surroundings, version="0.1.0"))


def test_a_gb10_is_whole():
    """Its missing memory and power limit are called normal, and the hardware target would run."""
    text = told(SPARK, around(FakeNvml(gpus=[gb10()])))

    assert "NVIDIA GB10, compute capability 12.1, driver 580.95.05, CUDA 13.0" in text
    assert "not reported: memory, power limit (normal on a GB10" in text
    assert "SM clock 2411 MHz, at most 3003 MHz, 38 W, 61 °C, 96% busy" in text
    assert "119.6 GiB, 100.0 GiB available" in text
    assert "would run: trt-engine." in text


def test_a_host_with_docker_needs_no_tools():
    """With runner = "docker" what pytest would run is what the doctor says."""
    host = replace(BARE, gpu="GPU 0: NVIDIA GB10", docker="/usr/bin/docker")
    surroundings = around(FakeNvml(gpus=[gb10()]))
    outside, inside = (
        diagnose(host, surroundings, version="0.1.0", in_container=boxed) for boxed in (True, False)
    )

    assert outside.auto is Target.TRT_ENGINE
    assert inside.auto is None
    assert any("trtllm-build" in line for state in inside.targets for line in state.lacks)


@pytest.mark.parametrize(("runner", "boxed"), [("local", False), ("docker", True), (None, False)])
def test_the_doctor_heeds_the_suite_it_is_asked_in(tmp_path, monkeypatch, runner, boxed):
    """In a suite's folder or below it trtllm.toml decides; elsewhere there is none."""
    (tmp_path / "below").mkdir()
    if runner:
        lay_out_suite(tmp_path)
        path = tmp_path / "trtllm.toml"
        path.write_text(path.read_text().replace('"local"', f'"{runner}"'))
    monkeypatch.chdir(tmp_path / "below")

    assert cli._in_container() == boxed


def test_a_reading_missing_for_another_reason_is_not_called_normal():
    """A GB10 that does not report its clock, or an H100 without memory, gets no excuse."""
    for gpu in (replace(gb10(), sm_clock_mhz=None), replace(h100(), memory_bytes=None)):
        text = told(SPARK, around(FakeNvml(gpus=[gpu])))

        assert "not reported" in text
        assert "normal" not in text


def test_a_gpu_that_reports_all_is_not_complained_about():
    """Nothing is called missing where nothing is."""
    assert "not reported" not in told(SPARK, around(FakeNvml(gpus=[h100()])))


def test_a_machine_without_a_driver_says_why():
    """The reason stands where the GPU would."""
    text = told(BARE, around())

    assert "GPU          none: no NVIDIA driver answers here" in text
    assert "would refuse to run" in text


def test_each_target_says_what_it_lacks():
    """Every need of a target is listed under it, and only what is missing."""
    diagnosis = diagnose(
        replace(SPARK, trtllm_build=None), around(FakeNvml(gpus=[gb10()])), version="0.1.0"
    )
    lacking = {state.target: state.lacks for state in diagnosis.targets}

    assert len(lacking[Target.TRT_ENGINE]) == 1
    assert "trtllm-build" in lacking[Target.TRT_ENGINE][0]
    assert lacking[Target.LLMAPI] == ()
    assert diagnosis.auto is Target.LLMAPI


def test_a_wheel_that_cannot_start_is_not_called_ready():
    """The installed wheel without its shared library lacks that, and auto has nothing to run."""
    problem = "Triton needs shared libraries this machine lacks: libpython3.12.so.1.0."
    diagnosis = diagnose(
        replace(BARE, triton_wheel="0.7.0"), around(wheel_problem=problem), version="0.1.0"
    )

    assert (problem,) in [state.lacks for state in diagnosis.targets]
    assert diagnosis.auto is None


def test_who_computes_on_the_gpu_is_named():
    """Other processes on the GPU are shown with their names, for they veto a run."""
    library = FakeNvml(gpus=[replace(gb10(), pids=(41, 42))], process_names={41: "ollama"})

    assert "in use by: 41 ollama, 42 (unknown)" in told(SPARK, around(library))


def test_a_gpu_held_down_says_by_what():
    """A power brake is shown."""
    held = replace(gb10(), event_reasons=pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown)

    assert "held down now by: power brake" in told(SPARK, around(FakeNvml(gpus=[held])))


def test_memory_is_read_from_the_kernel(tmp_path):
    """Kilobytes there are 1024 bytes; a file that does not say is no memory, not none of it."""
    (tmp_path / "meminfo").write_text(MEMINFO)

    assert look_at_memory(tmp_path / "meminfo") == Memory(
        total_bytes=125452024 * 1024, available_bytes=104857600 * 1024
    )
    assert look_at_memory(tmp_path / "absent") is None
    assert parse_meminfo("MemTotal: 5 kB\n") is None


def test_the_container_is_known_by_its_marks(tmp_path):
    """The mark says that we are in one, the variable in which; the runtime tells its version."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Docker version 27.1\n")
    docker.chmod(0o755)
    (tmp_path / ".dockerenv").touch()
    found = look_at_container(
        {"PERFGATE_CONTAINER": "tritonserver@sha256:ab"},
        which={"docker": str(docker)}.get,
        root=tmp_path,
    )

    assert found == Container(
        runtime=f"Docker version 27.1 ({docker})",
        nvidia_toolkit=None,
        inside=True,
        image="tritonserver@sha256:ab",
    )


def test_a_runtime_that_does_not_answer_is_none(tmp_path):
    """A broken docker runs no container."""
    broken = tmp_path / "docker"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    assert look_at_container({}, which={"docker": str(broken)}.get, root=tmp_path).runtime is None


def test_the_command_speaks_json():
    """--json is the whole diagnosis of this machine, and the same as the text is made of."""
    result = CliRunner().invoke(cli.app, ["doctor", "--json"])
    content = json.loads(result.stdout)

    assert result.exit_code == 0
    assert [state["target"] for state in content["targets"]] == list(Target)
    assert content["surroundings"]["memory"]["total_bytes"] > 0


def test_the_command_prints_a_few_lines():
    """One line a fact; every target is named."""
    result = CliRunner().invoke(cli.app, ["doctor"])

    assert result.exit_code == 0
    assert all(target in result.stdout for target in Target)
    assert len(result.stdout.splitlines()) < 30


def test_a_diagnosis_is_plain_json():
    """A GB10's diagnosis goes through JSON with its missing readings as null."""
    diagnosis = diagnose(SPARK, around(FakeNvml(gpus=[gb10()])), version="0.1.0")
    content = json.loads(codec.to_json(diagnosis))

    assert content["surroundings"]["gpus"][0]["gpu"]["memory_bytes"] is None
    assert content["unreported"] == {"0": ["memory", "power limit"]}
