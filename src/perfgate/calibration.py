"""What is known of a host's noise: `baselines/<hardware>/calibration.json`, by perfgate calibrate.

The values a paired job needs are derived from the runs in the file; loading derives them again and
refuses a file in which they differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perfgate import codec
from perfgate.errors import BaselineError, NoSamplesError
from perfgate.gate.boundaries import stored
from perfgate.gate.components import Components, components, run_sd
from perfgate.gate.losses import log_cost
from perfgate.gate.metrics import BY_NAME

FILE = "calibration.json"
SCHEMA_VERSION = 1
LEAST_BOOTS = 3

Boots = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The runs of a calibration and what follows from them.

    `runs[cell]` is sessions of boots of windows, in the metric's unit. `pair_sd[cell]` is the sd of
    one pair's log-loss; `components[cell]` says where it comes from. `start_minutes` is the mean
    price of one server start with its load.
    """

    schema_version: int = SCHEMA_VERSION
    hardware: str
    measured_at: str
    start_minutes: float
    runs: dict[str, tuple[tuple[tuple[float, ...], ...], ...]]
    pair_sd: dict[str, float] = field(default_factory=dict)
    components: dict[str, Components] = field(default_factory=dict)


def derive(
    hardware: str,
    measured_at: str,
    start_minutes: float,
    runs: Mapping[str, Sequence[Boots]],
) -> Calibration:
    """Derive a calibration from its runs.

    Raises NoSamplesError for a session of fewer than three boots, or sessions of unequal boots.
    """
    kept = {
        cell: tuple(tuple(tuple(boot) for boot in session) for session in sessions)
        for cell, sessions in runs.items()
    }
    return Calibration(
        hardware=hardware,
        measured_at=measured_at,
        start_minutes=round(start_minutes, 4),
        runs=kept,
        pair_sd={cell: _pair_sd(cell, sessions) for cell, sessions in kept.items()},
        components={cell: components(_costs(cell, sessions)) for cell, sessions in kept.items()},
    )


def load(path: Path) -> Calibration:
    """Read a calibration; BaselineError if it is missing or its derived values are not its own."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} does not exist: this hardware is not calibrated. Run: perfgate calibrate"
        raise BaselineError(msg) from error
    found = codec.from_versioned_json(
        data,
        Calibration,
        version=SCHEMA_VERSION,
        origin=str(path),
        if_older="Calibrate again: perfgate calibrate",
    )
    again = derive(found.hardware, found.measured_at, found.start_minutes, found.runs)
    if again != found:
        msg = f"{path} was edited by hand: its sd does not follow from its runs. Calibrate again."
        raise BaselineError(msg)
    return found


def save(path: Path, calibration: Calibration) -> None:
    """Write a calibration."""
    codec.write_atomic(path, codec.to_pretty_json(calibration))


def degrees_of_freedom(calibration: Calibration, cell: str) -> int:
    """The degrees of freedom behind the sd of a cell's runs."""
    return calibration.components[cell].boots_df


def enough(calibration: Calibration, cell: str) -> bool:
    """Whether the sd is known as well as the gate's lines take for granted."""
    return degrees_of_freedom(calibration, cell) >= stored().design.prior_df


def _costs(cell: str, sessions: Sequence[Boots]) -> list[list[list[float]]]:
    metric = BY_NAME[cell.rpartition(":")[2]]
    return [
        [[log_cost(metric, value) for value in boot] for boot in session] for session in sessions
    ]


def _pair_sd(cell: str, sessions: Sequence[Boots]) -> float:
    counts = {len(session) for session in sessions}
    if len(counts) != 1 or min(counts) < LEAST_BOOTS:
        msg = f"{cell}: each session needs the same number of boots, {LEAST_BOOTS} at least"
        raise NoSamplesError(msg)
    # A paired run is one window: the first of each boot, for later ones are warmer.
    first = np.array([[boot[0] for boot in session] for session in _costs(cell, sessions)])
    return float(f"{float(run_sd(first)) * 2**0.5:.6g}")
