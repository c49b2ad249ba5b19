"""Built engines, kept by digest: built once, whole or not at all, whoever asks at the same time."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from perfgate import codec

_PREFIX = ".building-"


def digest(**parts: object) -> str:
    """Name an engine by everything that matters to it: 16 hex digits over the parts' JSON."""
    return hashlib.sha256(codec.to_json(parts)).hexdigest()[:16]


def cached(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The directory `cache/name`, filled by `build(directory)` if it is not there yet.

    Two callers at once, in one process or several, make one build. `build` works in a directory
    beside the final one, which appears under its name only when complete; what a killed build left
    is removed by the next.
    """
    final = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if final.is_dir():
            return final
        for leftover in cache.glob(f"{_PREFIX}{name}-*"):
            shutil.rmtree(leftover)
        unfinished = Path(tempfile.mkdtemp(dir=cache, prefix=f"{_PREFIX}{name}-"))
        try:
            build(unfinished)
            _sync(unfinished)
            unfinished.rename(final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync_file(cache)
    return final


def _sync(directory: Path) -> None:
    for path in (*directory.rglob("*"), directory):
        _sync_file(path)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
