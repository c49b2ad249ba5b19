"""From a spec to a checked engine, from the cache or new."""

from dataclasses import replace

import pytest

from perfgate.engines.build import build
from perfgate.errors import BuildError, UsageError
from perfgate.model import Target
from tests.unit.factories import a_point
from tests.unit.sim_samples import gb10

pytestmark = pytest.mark.unit

SPEC = a_point().engine


def simulated(cache, spec=SPEC, profile=None):
    """Build a simulated engine."""
    return build(spec, target=Target.SIM, profile=profile or gb10(), cache=cache)


def test_the_same_spec_is_built_once(tmp_path):
    """The second build is the first one's directory, under its name and digest."""
    first = simulated(tmp_path)

    assert simulated(tmp_path) == first
    assert first.directory == (tmp_path / f"fp8-b192-{first.digest}").resolve()
    assert first.simulated


@pytest.mark.parametrize(
    "changes",
    [{"max_batch_size": 64}, {"context_fmha": False}, {"max_num_tokens": 4096}],
    ids=str,
)
def test_another_spec_is_another_engine(tmp_path, changes):
    """Whatever changes the engine file changes its digest."""
    assert simulated(tmp_path, replace(SPEC, **changes)).digest != simulated(tmp_path).digest


def test_another_gpu_is_another_engine(tmp_path):
    """A profile with a planted slowdown never reuses the engine built without it."""
    profile = gb10()
    slower = replace(profile, simulation=replace(profile.simulation, step_time_factor=1.05))

    assert simulated(tmp_path, profile=slower).digest != simulated(tmp_path).digest


def test_an_engine_from_the_cache_is_checked_as_well(tmp_path):
    """What was changed since it was built is found out before it is served."""
    engine = simulated(tmp_path)
    path = engine.directory / "config.json"
    path.write_text(path.read_text().replace('"max_batch_size": 192', '"max_batch_size": 8'))

    with pytest.raises(BuildError, match=r"asked build_config\.max_batch_size 192, got 8"):
        simulated(tmp_path)


def test_a_running_server_has_no_engine_to_build(tmp_path):
    """The remote target builds nothing and writes nothing."""
    engine = build(SPEC, target=Target.REMOTE, profile=gb10(), cache=tmp_path / "cache")

    assert (engine.spec, engine.simulated) == (SPEC, False)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("target", [Target.TRT_ENGINE, Target.LLMAPI], ids=str)
def test_hardware_without_its_configuration_is_refused(tmp_path, target):
    """Nothing is guessed: the file that says from what to build is named."""
    with pytest.raises(UsageError, match=r"trtllm\.toml"):
        build(SPEC, target=target, profile=gb10(), cache=tmp_path)
