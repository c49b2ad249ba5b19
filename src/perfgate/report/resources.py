"""What server and GPU did at each point, as one table that HTML and Markdown share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfgate.model import Measurement, ResourceUse
from perfgate.report import numbers

_NOT_REPORTED = "-"

_COLUMNS: dict[str, Callable[[ResourceUse], str | None]] = {
    "KV cache peak": lambda use: _share(use.kv_cache_peak),
    "active": lambda use: _number(use.active_mean),
    "waiting": lambda use: _number(use.waiting_mean),
    "GPU busy": lambda use: _share(use.gpu_utilization_mean),
    "SM clock": lambda use: _number(use.sm_clock_mean_mhz, " MHz"),
    "power": lambda use: _number(use.power_mean_w, " W"),
    "hottest": lambda use: _number(use.temperature_max_c, " °C"),
    "samples": lambda use: str(use.samples),
}


def resource_table(
    measurements: Sequence[Measurement],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and lines, one a watched point; a column that no point has is left out."""
    watched = {one.point.id: one.resources for one in measurements if one.resources}
    texts = {title: [read(use) for use in watched.values()] for title, read in _COLUMNS.items()}
    kept = {title: column for title, column in texts.items() if any(column)}
    lines = [
        (point, *(column[i] or _NOT_REPORTED for column in kept.values()))
        for i, point in enumerate(watched)
    ]
    return ("point", *kept), lines


def _share(value: float | None) -> str | None:
    return None if value is None else numbers.share(value)


def _number(value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{numbers.significant(value)}{unit}"
