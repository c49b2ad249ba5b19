"""A simulated engine directory of a GPU ten times as fast, for tests that wait for tokens."""

from dataclasses import replace

from perfgate.engines.layout import write_simulated
from perfgate.model import EngineSpec, Precision
from tests.unit.sim_samples import gb10

SPEC = EngineSpec(
    model="llm-7b",
    precision=Precision.FP8,
    max_batch_size=4,
    max_input_len=64,
    max_seq_len=128,
    max_num_tokens=8192,
)


def quick_engine(folder, spec=SPEC):
    """Write the engine; an iteration takes about 3 ms."""
    profile = gb10()
    simulation = replace(profile.simulation, step_time_factor=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    write_simulated(folder, spec, replace(profile, simulation=simulation), "test")
    return folder
