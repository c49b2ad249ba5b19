"""Hardware profiles are read strictly and stay within physics."""

from __future__ import annotations

import dataclasses

import pytest

from perfgate.errors import UsageError
from perfgate.hardware import ModelGeometry, load_profile
from perfgate.model import Precision
from tests.unit.sim_samples import ROOT, a_profile, gb10

pytestmark = pytest.mark.unit

GB10 = (ROOT / "hardware" / "gb10.toml").read_text(encoding="utf-8")


def loaded(tmp_path, old, new):
    """The GB10 profile with one piece of its text replaced."""
    assert old in GB10
    path = tmp_path / "other.toml"
    path.write_text(GB10.replace(old, new, 1), encoding="utf-8")
    return load_profile(path)


def test_the_gb10_profile_is_what_its_data_sheet_says():
    """The profile loads, and its model has the weights of a 7B-class one."""
    profile = gb10()
    model = profile.simulation.model

    assert (profile.name, profile.compute_capability) == ("gb10", "12.1")
    assert profile.bandwidth_bytes_per_s == 273e9
    assert model.weight_bytes(Precision.FP16) / 1e9 == pytest.approx(13.2, abs=0.1)
    assert model.weight_bytes(Precision.FP8) / 1e9 == pytest.approx(6.74, abs=0.1)
    assert model.kv_bytes_per_token(Precision.FP16) == 131072
    assert model.kv_bytes_per_token(Precision.FP8) == 65536


def test_another_gpu_is_one_file_without_a_simulation(tmp_path):
    """A profile may leave the simulation out; asking for it then says so."""
    path = tmp_path / "h100.toml"
    path.write_text(GB10[: GB10.index("[simulation]")], encoding="utf-8")

    with pytest.raises(UsageError, match=r"no \[simulation\] table"):
        load_profile(path).require_simulation()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", "titel: got .* may hold here only name, title"),
        ("layers = 32", "layer = 32", "simulation.model.layer: got 32"),
        ("low = 0.80", "lowest = 0.80", "bandwidth_efficiency.lowest: got 0.8"),
        ("\npoint = ", "\npoints = ", r"simulation.reference\[\].points: got"),
        ("value = 0.983", "value = 1.2", "value: got 1.2, but its bounds are 0.8 to 1"),
        ("kv_heads = 8", "kv_heads = 7", "kv_heads: got 7, but it must divide heads"),
        ("layers = 32", "layers = 0", "layers: got 0"),
        ("bandwidth_bytes_per_s = 273e9", "bandwidth_bytes_per_s = 0.0", "bandwidth.*above 0"),
        ("fp16 = 125e12\n", "", "peak_flops: .*fp16 is missing"),
        ("step_time_factor = 1.0", "step_time_factor = 0.0", "step_time_factor: got 0.0"),
        ("throughput_tok_s = 300.0", "throughput_tok_s = -1.0", "throughput_tok_s: got -1.0"),
        ("name =", "name", "must be valid TOML"),
    ],
    ids=lambda value: value.split("=")[0].strip() if isinstance(value, str) else None,
)
def test_a_mistake_in_a_profile_is_named(tmp_path, old, new, message):
    """Unknown keys and values out of bounds are refused with field, value and rule."""
    with pytest.raises(UsageError, match=message):
        loaded(tmp_path, old, new)


def test_an_unknown_profile_lists_the_known_ones(tmp_path):
    """A wrong name is answered with the right ones."""
    (tmp_path / "gb10.toml").write_text(GB10, encoding="utf-8")

    with pytest.raises(UsageError, match=r"no such hardware profile .*gb10"):
        load_profile(tmp_path / "gb20.toml")


def test_weights_follow_from_the_geometry():
    """Parameters of Llama 2 7B, counted by hand: 32 layers of 202,375,168 and a head."""
    llama = dataclasses.replace(a_profile().simulation.model, **LLAMA_2_7B)

    assert llama.layer_parameters == 32 * 202_375_168
    assert llama.gemm_parameters == 32 * 202_375_168 + 131_072_000
    assert isinstance(llama, ModelGeometry)


LLAMA_2_7B = {
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 32,
    "head_dim": 128,
    "ffn": 11008,
    "vocab": 32000,
}
