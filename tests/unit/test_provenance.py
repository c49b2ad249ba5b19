"""What must agree before two runs are compared, and what may differ because it is under test."""

from dataclasses import replace
from pathlib import Path

import pytest

from perfgate.engines.site import origin, write_origin
from perfgate.gate import judge
from perfgate.model import Engine, Policy, Target, Verdict
from perfgate.observe.fake_nvml import FakeNvml, gb10
from perfgate.observe.nvml import open_nvml
from perfgate.provenance import fingerprint, workload_digest
from perfgate.trtllm import Runner
from tests.unit.factories import a_cell, a_measurement, a_point
from tests.unit.hardware_samples import a_site

pytestmark = pytest.mark.unit

POINT = a_point()
ENGINE = Engine(spec=POINT.engine, target=Target.TRT_ENGINE, directory=Path(), digest="ab12")


def spark(**changes):
    """The GPU of a GB10, changed."""
    with open_nvml(FakeNvml(gpus=[gb10()])) as nvml:
        return replace(nvml.gpus()[0], **changes)


def taken(gpu=None, *, point=POINT, engine=ENGINE):
    """A fingerprint of a run on a GB10."""
    return fingerprint(point, engine, "gb10", gpu or spark())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "NVIDIA H100"}, "gpu"),
        ({"compute_capability": "9.0"}, "compute_capability"),
        ({"driver": "590.44.01"}, "driver"),
        ({"sm_clock_max_mhz": 2100}, "sm_clock_max"),
        ({"application_clock_mhz": 1500}, "application_clock"),
        ({"power_limit_w": 100.0}, "power_limit"),
    ],
)
def test_another_machine_is_refused_by_the_field_that_differs(change, field):
    """A number from another GPU, driver, clock or power setting is held against no baseline."""
    measurement = replace(a_measurement(POINT), fingerprint=taken(spark(**change)))
    judgement = judge(measurement, a_cell(identity=taken().identity), Policy())

    (finding,) = judgement.findings
    assert judgement.verdict is Verdict.INVALID
    assert f"{field} is " in finding.message
    assert finding.message.count(" is ") == 1


def test_the_engine_is_under_test_and_no_part_of_the_identity():
    """Another engine build or container is compared, so that what it costs is found."""
    rebuilt = replace(ENGINE, digest="cd34")

    assert taken(engine=rebuilt).identity == taken().identity
    assert taken(engine=rebuilt).context != taken().context


def test_the_container_is_told(monkeypatch):
    """The image that the run is inside of, and what it says of itself, are context."""
    monkeypatch.setenv("PERFGATE_CONTAINER", "tritonserver@sha256:ab")
    monkeypatch.setenv("TRITON_SERVER_VERSION", "2.61.0")
    before = taken()
    monkeypatch.setenv("PERFGATE_CONTAINER", "tritonserver@sha256:cd")

    assert before.context["container"] == "tritonserver@sha256:ab"
    assert before.context["version.tritonserver"] == "2.61.0"
    assert before.context["container"] != taken().context["container"]
    assert before.identity == taken().identity


@pytest.mark.parametrize("runner", Runner)
def test_a_server_in_a_container_of_its_own_is_told_by_what_it_holds(tmp_path, runner):
    """With runner = "docker" this process is outside: its own versions say nothing."""
    write_origin(tmp_path, origin(a_site(tmp_path, runner=runner), tmp_path))
    found = taken(engine=replace(ENGINE, directory=tmp_path)).context

    contained = found["container"].endswith(":26.07-trtllm-python-py3")
    assert contained == (runner is Runner.DOCKER)
    assert (found.get("version.tensorrt-llm") == "1.2.1") == contained
    assert (found.get("version.nvidia-container") == "26.07") == contained


def test_every_part_of_the_load_is_in_its_digest():
    """Other prompts, of another seed, are another load although lengths and clients agree."""
    load = POINT.workload
    others = [replace(load, **{name: 7}) for name in ("concurrency", "isl", "osl", "seed")]

    assert len({workload_digest(one) for one in (load, *others)}) == 5
    assert taken().identity["workload"] == workload_digest(load)


def test_a_run_without_a_gpu_names_none():
    """A simulated or remote target has no GPU of this machine in its identity."""
    found = fingerprint(POINT, replace(ENGINE, target=Target.SIM), "gb10-sim")

    assert not {"gpu", "driver"} & found.identity.keys()


def test_a_gb10_s_missing_limit_is_part_of_its_identity():
    """What it does not report is said in words, equal on every GB10."""
    assert taken().identity["power_limit"] == "not reported"
