"""A chosen point as text for points.toml: complete, so that no default of that file changes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import StrEnum

from perfgate.model import SIMULATED_SUFFIX, OperatingPoint


def points_toml(
    points: Mapping[str, OperatingPoint], *, hardware: str, ceiling_p95_s: float, source: str
) -> str:
    """Engines and points to append to a points.toml, each point under what is said of it.

    `points` maps a comment of one line to its point. The claim is the ceiling alone: floors are
    for what hardware has reached.
    """
    claim = ", ".join(
        _pairs(
            {
                "hardware": hardware.removesuffix(SIMULATED_SUFFIX),
                "ceiling_p95_s": ceiling_p95_s,
                "source": source,
            }
        )
    )
    return "\n".join("\n".join(_tables(said, point, claim)) for said, point in points.items())


def _tables(said: str, point: OperatingPoint, claim: str) -> list[str]:
    name = f"explored-{point.id}"
    load, sampling = point.workload, point.sampling
    serving = ", ".join(_pairs(dataclasses.asdict(point.serving)))
    return [
        f"[engines.{_quoted(name)}]",
        *_pairs(dataclasses.asdict(point.engine)),
        "",
        f"# {said}",
        "[[points]]",
        f"id = {_quoted(name)}",
        f"engine = {_quoted(name)}",
        f"concurrency = {load.concurrency}",
        f"isl = {load.isl}",
        f"osl = {load.osl}",
        *_pairs(dataclasses.asdict(sampling)),
        f"serving = {{ {serving} }}",
        f"claim = {{ {claim} }}",
        "",
    ]


def _pairs(table: Mapping[str, object]) -> list[str]:
    # TOML has no word for None; what is left out is None when it is read back.
    return [f"{name} = {_value(value)}" for name, value in table.items() if value is not None]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value.value if isinstance(value, StrEnum) else value)


def _quoted(value: object) -> str:
    """JSON strings and numbers are TOML ones."""
    return json.dumps(value)
