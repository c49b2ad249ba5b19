"""Hardware profiles: what a GPU can do at most, and how it is simulated.

A profile is one TOML file under `hardware/`; another GPU is another file. Every simulation
parameter carries its bounds and the reason for them, so that a fit cannot leave physics.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from perfgate.codec import from_table
from perfgate.errors import UsageError
from perfgate.model import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGeometry:
    """The shape of the simulated decoder-only transformer: all sizes follow from it."""

    title: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    source: str

    def __post_init__(self) -> None:
        """Refuse a model of no size, or one whose KV heads cannot be shared evenly."""
        for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab"):
            if getattr(self, name) < 1:
                raise UsageError(name, getattr(self, name), "it must be at least 1")
        if self.heads % self.kv_heads:
            raise UsageError("kv_heads", self.kv_heads, f"it must divide heads ({self.heads})")

    @property
    def layer_parameters(self) -> int:
        """Weights of all layers: Q, K, V and output projections and the gated feed-forward."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def head_parameters(self) -> int:
        """Weights of the output head, which quantisation leaves at 16 bits."""
        return self.hidden * self.vocab

    @property
    def gemm_parameters(self) -> int:
        """Weights that every step multiplies with; the embedding table is only looked up."""
        return self.layer_parameters + self.head_parameters

    def weight_bytes(self, precision: Precision) -> int:
        """Bytes that one step reads for the weights."""
        return self.layer_parameters * BYTES[precision] + 2 * self.head_parameters

    def kv_bytes_per_token(self, precision: Precision) -> int:
        """Bytes of keys and values of one token; an FP8 engine keeps them in FP8 as well."""
        return 2 * self.layers * self.kv_heads * self.head_dim * BYTES[precision]


BYTES = {Precision.FP16: 2, Precision.FP8: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One number of the cost model with the bounds that physics sets and why."""

    value: float
    low: float
    high: float
    unit: str
    fitted: bool
    reason: str

    def __post_init__(self) -> None:
        """Refuse a value outside its own bounds."""
        if not self.low <= self.value <= self.high:
            rule = f"its bounds are {self.low:g} to {self.high:g} ({self.reason})"
            raise UsageError("value", self.value, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostParameters:
    """The free numbers of the cost model; see `perfgate.sim.cost` for what each one does."""

    bandwidth_efficiency: Parameter
    compute_efficiency: Parameter
    fp8_bandwidth_loss: Parameter
    fp8_loss_half_tokens: Parameter
    step_overhead_s: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A throughput somebody measured at an operating point, which the simulation must reproduce."""

    point: str
    throughput_tok_s: float

    def __post_init__(self) -> None:
        """Refuse a throughput that is none."""
        if not (math.isfinite(self.throughput_tok_s) and self.throughput_tok_s > 0):
            raise UsageError("throughput_tok_s", self.throughput_tok_s, "it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How the hardware is simulated: model, parameters and the points they were fitted to.

    `step_time_factor` scales every step: 1.05 plants a slowdown of 5 % on purpose.
    """

    model: ModelGeometry
    parameters: CostParameters
    reference_source: str
    reference: tuple[Reference, ...]
    step_time_factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a GPU without time."""
        if not (math.isfinite(self.step_time_factor) and self.step_time_factor > 0):
            raise UsageError("step_time_factor", self.step_time_factor, "it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """One kind of GPU: its physical limits and, if it can be simulated, how."""

    name: str
    title: str
    compute_capability: str
    memory_bytes: int
    bandwidth_bytes_per_s: float
    peak_flops: dict[Precision, float]
    source: str
    simulation: Simulation | None = None

    def __post_init__(self) -> None:
        """Refuse limits that are none."""
        limits = {
            "memory_bytes": self.memory_bytes,
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
            **{f"peak_flops.{precision}": peak for precision, peak in self.peak_flops.items()},
        }
        for name, limit in limits.items():
            if not (math.isfinite(limit) and limit > 0):
                raise UsageError(name, limit, "it must be above 0")
        for precision in Precision:
            if precision not in self.peak_flops:
                raise UsageError("peak_flops", sorted(self.peak_flops), f"{precision} is missing")

    def require_simulation(self) -> Simulation:
        """Return the simulation table or say that this profile has none."""
        if self.simulation is None:
            raise UsageError("hardware", self.name, "its profile has no [simulation] table")
        return self.simulation


def load_profile(path: Path) -> HardwareProfile:
    """Read a hardware profile.

    Raises UsageError naming field, value and rule: file missing, unknown key, value out of bounds.
    """
    table = _read(path)
    _refuse_unknown_keys(table, HardwareProfile, origin=str(path), at="")
    return from_table(table, HardwareProfile, origin=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.toml"))) or "none"
        rule = f"no such hardware profile (in that folder: {known})"
        raise UsageError("hardware", str(path), rule) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(str(path), str(error), "it must be valid TOML") from error


def _refuse_unknown_keys(value: object, kind: object, *, origin: str, at: str) -> None:
    # A misspelt optional key would otherwise be ignored, and the default used in silence.
    if isinstance(value, list):
        for item in value:
            _refuse_unknown_keys(item, _item_kind(kind), origin=origin, at=f"{at}[]")
    kind = _dataclass_in(kind)
    if kind is None or not isinstance(value, dict):
        return
    hints = get_type_hints(kind)
    for key, inner in value.items():
        name = f"{at}.{key}" if at else key
        if key not in hints:
            raise UsageError(name, inner, f"{origin} may hold here only {', '.join(hints)}")
        _refuse_unknown_keys(inner, hints[key], origin=origin, at=name)


def _dataclass_in(kind: object) -> type | None:
    # `Simulation | None` hides a dataclass.
    for option in (kind, *getattr(kind, "__args__", ())):
        if isinstance(option, type) and dataclasses.is_dataclass(option):
            return option
    return None


def _item_kind(kind: object) -> object:
    return next(iter(getattr(kind, "__args__", ())), None)
