"""From an engine to a measurement on hardware, with stand-ins for every tool."""

import os
from dataclasses import replace

import pytest

from perfgate.engines.trt_engine import build_trt_engine
from perfgate.errors import (
    BuildError,
    MissingRequirementError,
    NoSamplesError,
    ServerError,
    UsageError,
)
from perfgate.gpus import list_gpus
from perfgate.model import Sampling, ServingSpec, Workload
from perfgate.rig import Rig
from perfgate.serving.process import serve
from perfgate.setting import settle
from perfgate.suite import load_suite
from tests.unit.factories import a_point
from tests.unit.hardware_samples import a_site, lay_out_suite
from tests.unit.hardware_tools import lay_out_tools, ran
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

SERVING = ServingSpec(kv_cache_tokens=4096)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with checkpoints, and stand-ins for every tool first on PATH."""
    return lay_out_tools(tmp_path, monkeypatch)


def built(root):
    """The FP8 engine of what lies in `root`."""
    return build_trt_engine(a_point().engine, a_site(root), root / "cache")


def test_a_triton_that_never_gets_ready_is_given_up(root, monkeypatch):
    """With its log, and no process left."""
    monkeypatch.setenv("STANDIN_TRITON", "never")
    engine = built(root)

    with (
        pytest.raises(ServerError, match="was not ready"),
        serve(engine, SERVING, workdir=root / "server", ready_timeout_s=1.0),
    ):
        pass


def test_a_model_that_cannot_be_loaded_is_told_with_the_reason(root, monkeypatch):
    """Triton's own words, from the log."""
    monkeypatch.setenv("STANDIN_TRITON", "exits")

    with (
        pytest.raises(ServerError, match="engine is for SM 90"),
        serve(built(root), SERVING, workdir=root / "server"),
    ):
        pass


def test_a_machine_without_triton_is_told_what_to_do(root, monkeypatch):
    """The container, or its name in the file."""
    engine = built(root)
    monkeypatch.setenv("PATH", "/nonexistent")

    with (
        pytest.raises(MissingRequirementError, match='runner = "docker"'),
        serve(engine, SERVING, workdir=root / "server"),
    ):
        pass


def test_an_engine_that_perfgate_did_not_build_is_not_served(root):
    """Without its origin nothing is known of its version or tokenizer."""
    engine = built(root)
    (engine.directory / "perfgate.json").unlink()

    with (
        pytest.raises(BuildError, match="was not built by perfgate"),
        serve(engine, SERVING, workdir=root / "server"),
    ):
        pass


# --- From the suite's files to a measurement ----------------------------------------------------


class Silent:
    """An observer that remembers the steps."""

    def __init__(self):
        self.steps = []

    def begin(self, what):
        """Keep the step's name."""
        self.steps.append(what)

    def advance(self, done, total):
        """Nothing to show."""

    def end(self):
        """Nothing to close."""


@pytest.fixture
def suite(root, monkeypatch):
    """The suite's own files, with models where its trtllm.toml says, and the tools of `root`."""
    lay_out_suite(root)
    for name, link in (
        ("llama", "Llama-3.1-8B-Instruct"),
        ("llama-fp8", "Llama-3.1-8B-Instruct-FP8"),
        ("cnn", "cnn_dailymail"),
    ):
        (root / "models" / link).symlink_to(root / "models" / name)
    monkeypatch.setenv("STANDIN_INPUT_TOKENS", "4")
    return root


def small(point_id):
    """One of the suite's points with a load that the stand-in answers in a blink."""
    return replace(
        load_suite(ROOT).point(point_id),
        workload=Workload(concurrency=2, isl=4, osl=8),
        sampling=Sampling(rounds=2, round_requests=4),
    )


def settled(root, target, **options):
    """The setting of a run on that target."""
    given = {"url": None, "require_hardware": True, "artifacts": root / "artifacts", **options}
    return settle(root, target=target, **given)


@pytest.mark.parametrize("runner", ["local", "docker"])
@pytest.mark.parametrize("target", ["trt-engine", "llmapi"])
def test_a_point_is_measured_on_hardware(suite, target, runner, monkeypatch):
    """From trtllm.toml over build, boot and load to a measurement labelled as real."""
    text = (suite / "trtllm.toml").read_text()
    (suite / "trtllm.toml").write_text(text.replace('"local"', f'"{runner}"'))
    monkeypatch.setattr("perfgate.targets._version", lambda name: "1.2.1" if name else None)
    observer = Silent()
    with Rig(settled(suite, target), observer) as rig:
        measurement = rig.measure(small("fp8-b16-c16"))

    assert measurement.requests >= 8  # answers in a blink may tie at the window's end
    assert measurement.fingerprint.target == target
    assert not measurement.fingerprint.simulated
    assert observer.steps[0] == "build fp8-b16"
    assert "boot Triton with fp8-b16" in observer.steps
    lines = [line for line in ran(suite) if line.startswith("docker")]
    assert bool(lines) == (runner == "docker")
    assert sum(line.startswith("docker rm --force perfgate-") for line in lines) == len(lines) / 2


def test_a_server_that_loads_and_then_dies_costs_its_point_only(suite, monkeypatch):
    """The first point is lost with its records kept; the next gets a server of its own."""
    monkeypatch.setenv("STANDIN_TRITON", "dies")
    with Rig(settled(suite, "trt-engine"), Silent()) as rig:
        with pytest.raises((ServerError, NoSamplesError)):
            rig.measure(small("fp8-b192-c128"))
        monkeypatch.setenv("STANDIN_TRITON", "ok")

        assert rig.measure(small("fp8-b192-c160")).requests >= 8


def test_a_gpu_serves_one_run_at_a_time(suite):
    """A second run on the same GPU is refused while the first one has it, and not afterwards."""
    point = small("fp8-b16-c16")
    with Rig(settled(suite, "trt-engine"), Silent()) as first:
        first.measure(point)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        with (
            Rig(settled(suite, "trt-engine"), Silent()) as second,
            pytest.raises(MissingRequirementError, match="no GPU is free"),
        ):
            second.measure(point)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_two_gpus_serve_two_runs_apart(suite, monkeypatch):
    """Each run sees a GPU of its own; both share the engine, ports and shared memory are apart."""
    monkeypatch.setenv("STANDIN_GPUS", "2")
    point = small("fp8-b16-c16")
    with Rig(settled(suite, "trt-engine"), Silent()) as first:
        first.measure(point)
        ours = first._serving.server
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")  # the second run is another process
        with Rig(settled(suite, "trt-engine"), Silent()) as second:
            second.measure(point)
            theirs = second._serving.server
            assert [gpu.index for gpu in list_gpus()] == [0, 1]
            assert (first._site.gpu.index, second._site.gpu.index) == (0, 1)
            assert {ours.grpc_url, ours.http_url}.isdisjoint({theirs.grpc_url, theirs.http_url})
    assert sum(line.startswith("trtllm-build") for line in ran(suite)) == 1


@pytest.mark.parametrize("target", ["trt-engine", "llmapi"])
def test_a_suite_without_its_file_is_told_which_one(suite, target, monkeypatch):
    """Hardware needs trtllm.toml."""
    monkeypatch.setattr("perfgate.targets._version", lambda name: "1.2.1" if name else None)
    (suite / "trtllm.toml").unlink()

    with pytest.raises(UsageError, match=r"trtllm\.toml"):
        settled(suite, target)
