"""The GPUs of this machine: which there are, and which one is ours for now."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from perfgate.errors import MissingRequirementError
from perfgate.model import Target

VISIBLE = "CUDA_VISIBLE_DEVICES"
# The driver's own order, which nvidia-smi, NVML and Docker count in; CUDA's default is by speed.
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
_QUERY = "index,name,compute_cap,driver_version,uuid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as the driver describes it."""

    index: int
    name: str
    compute_capability: str
    driver: str
    uuid: str = ""


AnyGpu = TypeVar("AnyGpu", bound=Gpu)


def list_gpus() -> tuple[Gpu, ...]:
    """Every GPU that `nvidia-smi` lists; none where there is no driver or it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    argv = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    try:
        listing = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()
    return parse_listing(listing.stdout)


def parse_listing(text: str) -> tuple[Gpu, ...]:
    """Read `nvidia-smi`'s lines; one that is no GPU's is left out."""
    rows = [[word.strip() for word in line.split(",")] for line in text.splitlines()]
    return tuple(
        Gpu(
            index=int(row[0]),
            name=row[1],
            compute_capability=row[2],
            driver=row[3],
            uuid=row[4],
        )
        for row in rows
        if len(row) == len(_QUERY.split(",")) and row[0].isdecimal()
    )


def visible(gpus: Sequence[AnyGpu], setting: str | None) -> tuple[AnyGpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves, in its order; all if it is not set.

    It names GPUs by index, UUID or the beginning of one; those after a name that fits none are
    hidden, as CUDA has it.
    """
    if setting is None:
        return tuple(gpus)
    chosen: list[AnyGpu] = []
    for word in setting.split(","):
        gpu = _named(gpus, word.strip())
        if gpu is None:
            break
        chosen.append(gpu)
    return tuple(chosen)


def gpu_count(target: Target) -> int:
    """How many tests may measure at once: one for each GPU, one where there is none of ours."""
    if target not in (Target.TRT_ENGINE, Target.LLMAPI):
        return 1
    return max(1, len(visible(list_gpus(), os.environ.get(VISIBLE))))


@contextmanager
def claim(gpus: Sequence[Gpu], folder: Path | None = None) -> Iterator[Gpu]:
    """Take a GPU that no other run on this machine has, and make it the only visible one.

    The claim is a file lock in `folder` (by default the machine's temporary folder): it ends with
    this process, however that ends. Raises MissingRequirementError if every GPU is taken.
    """
    place = folder or Path(tempfile.gettempdir())
    for gpu in gpus:
        lock = FileLock(place / f"perfgate-gpu-{gpu.index}.lock", mode=0o666)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        mine = {**ORDER, VISIBLE: str(gpu.index)}
        before = {name: os.environ.get(name) for name in mine}
        os.environ.update(mine)
        try:
            yield gpu
        finally:
            _restore(before)
            lock.release()
        return
    if not gpus:
        msg = f"no GPU is to be seen: `nvidia-smi` lists none that {VISIBLE} leaves"
        raise MissingRequirementError(msg)
    taken = ", ".join(str(gpu.index) for gpu in gpus)
    msg = (
        f"no GPU is free (there are: {taken}). Another run of perfgate measures on each of them;"
        " wait for it, or start fewer workers."
    )
    raise MissingRequirementError(msg)


def _named(gpus: Sequence[AnyGpu], word: str) -> AnyGpu | None:
    fitting = (
        gpu
        for gpu in gpus
        if word == str(gpu.index) or (word.startswith("GPU-") and gpu.uuid.startswith(word))
    )
    return next(fitting, None)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
