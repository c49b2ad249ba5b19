"""What the points of a run share and what each has of its own, so that a page says it once."""

from __future__ import annotations

from collections.abc import Mapping

from perfgate.model import Fingerprint

_ABSENT = "not recorded"


def shared_entries(fingerprints: Mapping[str, Fingerprint]) -> list[tuple[str, str]]:
    """Identity and context entries that every point has with the same value."""
    every = [_entries(fingerprint) for fingerprint in fingerprints.values()]
    if not every:
        return []
    return [
        (name, value)
        for name, value in every[0].items()
        if all(entries.get(name) == value for entries in every)
    ]


def own_entries(
    fingerprints: Mapping[str, Fingerprint],
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The names of the entries that differ, and by point their values in that order."""
    shared = {name for name, _ in shared_entries(fingerprints)}
    every = {point: _entries(fingerprint) for point, fingerprint in fingerprints.items()}
    names = list(dict.fromkeys(n for entries in every.values() for n in entries if n not in shared))
    own = {
        point: tuple(entries.get(name, _ABSENT) for name in names)
        for point, entries in every.items()
    }
    return names, own


def _entries(fingerprint: Fingerprint) -> dict[str, str]:
    return {**fingerprint.identity, **fingerprint.context}
