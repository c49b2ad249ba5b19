"""Whether a sweep that was begun may be gone on with: field by field, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from perfgate.errors import UsageError
from perfgate.model import Fingerprint, OperatingPoint
from perfgate.sweep.content import EngineSweep

_OF_THE_POINT = ("concurrency", "workload")  # differ along the curve, as they should
_CLOCK = "clock"  # only virtual time is named


def refuse_other(
    earlier: EngineSweep, point: OperatingPoint, fingerprint: Fingerprint, *, folder: str
) -> None:
    """Raise UsageError if `earlier` was measured on something else than `fingerprint` says.

    A fingerprint that knows less, as before a server runs, is held to what it knows. Versions and
    the machine count too: half a curve of each of two would be a curve of neither.
    """
    found = [*_of_fields(earlier.point, point)]
    if earlier.taken:
        found += _of_fingerprints(earlier.taken[0].measurement.fingerprint, fingerprint)
    if found:
        told = "; ".join(f"{name} is {before} there, {now} here" for name, before, now in found)
        rule = f"it holds a sweep of another {earlier.point.engine.name}: {told}. Name a new folder"
        raise UsageError("--output", folder, rule)


def _of_fields(before: OperatingPoint, now: OperatingPoint) -> Iterator[tuple[str, str, str]]:
    for part in ("engine", "serving", "workload", "sampling"):
        old, new = _table(getattr(before, part)), _table(getattr(now, part))
        for name in sorted(old.keys() | new.keys()):
            if name not in _OF_THE_POINT and old.get(name) != new.get(name):
                yield f"{part}.{name}", str(old.get(name)), str(new.get(name))
    ceilings = [one.claim.ceiling_p95_s if one.claim else None for one in (before, now)]
    if ceilings[0] != ceilings[1]:
        yield "P95 ceiling", str(ceilings[0]), str(ceilings[1])


def _of_fingerprints(before: Fingerprint, now: Fingerprint) -> Iterator[tuple[str, str, str]]:
    real = {_CLOCK: "real"}
    old = real | before.identity | before.context
    new = real | now.identity | now.context
    for name in sorted((old.keys() & new.keys()) - set(_OF_THE_POINT)):
        if old[name] != new[name]:
            yield name, old[name], new[name]


def _table(value: object) -> Mapping[str, object]:
    table: Mapping[str, object] = msgspec.to_builtins(value)
    return table
