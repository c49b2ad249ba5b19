"""How often a point is measured before other work on the machine makes it INVALID."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from perfgate.measure.validity import only_disturbed
from perfgate.model import Measurement, Target
from perfgate.records import SUFFIX

_TRIES = (1, 1)
_SIMULATED_TRIES = (1, 2, 4)
_TITLES = ("first", "second", "third")


def until_undisturbed(target: Target, measure: Callable[[int], Measurement]) -> Measurement:
    """Measure a point; again, in place, as long as other work on the machine disturbed it.

    `measure(dilation)` runs and records it once. A simulated GPU runs slower in each further try,
    so that this machine can keep up with it. The rules that decide so never look at a number that
    is judged. All records are kept.
    """
    first, *others = _SIMULATED_TRIES if target is Target.SIM else _TRIES
    measurement = measure(first)
    notes: list[str] = []
    for number, dilation in enumerate(others):
        if not only_disturbed(measurement.vetoes):
            break
        rules = ", ".join(veto.rule for veto in measurement.vetoes)
        kept = _set_aside(Path(measurement.records), number)
        notes.append(
            f"measured a {_TITLES[number + 1]} time, as the {_TITLES[number]} was disturbed"
            f" ({rules}): {kept.name}"
        )
        measurement = measure(dilation)
    return replace(measurement, notes=(*measurement.notes, *notes))


def _set_aside(records: Path, number: int) -> Path:
    suffix = f".disturbed-{number + 1}" if number else ".disturbed"
    return records.rename(records.with_name(records.name.replace(SUFFIX, suffix + SUFFIX)))
