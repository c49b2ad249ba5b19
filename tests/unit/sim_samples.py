"""Engines, loads and a GPU with round numbers for the tests of the simulation."""

from __future__ import annotations

from pathlib import Path

from perfgate.hardware import (
    CostParameters,
    HardwareProfile,
    ModelGeometry,
    Parameter,
    Reference,
    Simulation,
    load_profile,
)
from perfgate.model import EngineSpec, OperatingPoint, Precision, Sampling, ServingSpec, Workload

ROOT = Path(__file__).parents[2]


def gb10():
    """The profile that comes with the project."""
    return load_profile(ROOT / "hardware" / "gb10.toml")


def an_engine(**changes):
    """An FP8 engine of eight slots with room for short requests."""
    sizes = {
        "model": "llm-7b",
        "precision": Precision.FP8,
        "max_batch_size": 8,
        "max_input_len": 256,
        "max_seq_len": 512,
        "max_num_tokens": 512,
        "tokens_per_block": 4,
    }
    return EngineSpec(**sizes | changes)


def a_serving(**changes):
    """A KV cache of 1024 tokens under the default policy."""
    return ServingSpec(**{"kv_cache_tokens": 1024} | changes)


def a_reference_point(**changes):
    """The operating point `p`: four clients, 32 tokens in and out, on `an_engine`."""
    parts = {
        "id": "p",
        "engine": an_engine(),
        "serving": a_serving(),
        "workload": Workload(concurrency=4, isl=32, osl=32),
        "sampling": Sampling(rounds=1, round_requests=4),
    }
    return OperatingPoint(**parts | changes)


def a_parameter(value, *, fitted=False):
    """A parameter with bounds at zero and at ten times its value, or at one."""
    return Parameter(
        value=value, low=0.0, high=max(1.0, 10 * value), unit="", fitted=fitted, reason="test"
    )


def a_profile(*, step_time_factor=1.0, reference=(), bandwidth_efficiency=None):
    """A GPU of 1 GB/s and 1 TFLOP/s with one small layer, no FP8 loss and 1 ms of overhead."""
    return HardwareProfile(
        name="toy",
        title="Toy",
        compute_capability="0.0",
        memory_bytes=10**9,
        bandwidth_bytes_per_s=1e9,
        peak_flops={Precision.FP16: 1e12, Precision.FP8: 2e12},
        source="made up",
        simulation=Simulation(
            model=ModelGeometry(
                title="toy",
                layers=1,
                hidden=100,
                heads=10,
                kv_heads=5,
                head_dim=10,
                ffn=100,
                vocab=1000,
                source="made up",
            ),
            parameters=CostParameters(
                bandwidth_efficiency=bandwidth_efficiency or a_parameter(1.0),
                compute_efficiency=a_parameter(1.0),
                fp8_bandwidth_loss=a_parameter(0.0),
                fp8_loss_half_tokens=a_parameter(10.0),
                step_overhead_s=a_parameter(0.001),
            ),
            reference_source="made up",
            reference=tuple(Reference(point=p, throughput_tok_s=x) for p, x in reference),
            step_time_factor=step_time_factor,
        ),
    )
