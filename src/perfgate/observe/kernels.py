"""GPU kernels of a capture: read from nsys' summary, sorted into kinds, compared. All pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from perfgate.errors import RecordsError, UsageError
from perfgate.model import Workload, differing

_HEADER = re.compile(r'^"?Time \(%\)"?,')
_TOTAL, _INSTANCES, _NAME = "Total Time (ns)", "Instances", "Name"
# Attention goes first: its kernels are built of matrix products and say so in their names.
_ATTENTION = re.compile(
    r"fmha|flash|attention|xqa|(?<![a-z])mm?[hl]a(?![a-z])|paged.?kv|kv.?cache|(?<![a-z])rope",
    re.IGNORECASE,
)
_GEMM = re.compile(r"gemm|gemv|matmul|cutlass|cublas|nvjet|xmma|split.?k|wgmma", re.IGNORECASE)


class Phase(StrEnum):
    """The two phases of a request, which stress a GPU in different ways."""

    PREFILL = "prefill"
    DECODE = "decode"


class KernelKind(StrEnum):
    """What a kernel computes, by its name."""

    GEMM = "GEMM"
    ATTENTION = "attention"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """All launches of one kernel in a capture."""

    name: str
    total_ns: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCapture:
    """The kernels that ran while `requests` requests of one load shape were served."""

    phase: Phase
    workload: Workload
    requests: int
    kernels: tuple[Kernel, ...]

    @property
    def total_ns(self) -> int:
        """GPU time of all kernels."""
        return sum(kernel.total_ns for kernel in self.kernels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One profile of a server: what it is of, and each phase. No throughput: it is never judged."""

    schema_version: int = 1
    point: str
    target: str
    engine: str
    started_at: str
    identity: dict[str, str]
    phases: tuple[PhaseCapture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChange:
    """GPU time of one kernel per request, before and after; zero where it did not run."""

    phase: Phase
    name: str
    before_ns: float
    after_ns: float

    @property
    def change_ns(self) -> float:
        """How much longer it takes; negative is shorter."""
        return self.after_ns - self.before_ns


def parse_kernel_summary(text: str, *, origin: str) -> tuple[Kernel, ...]:
    """Read `nsys stats --report cuda_gpu_kern_sum --format csv`, skipping what precedes its header.

    Kernels come back by falling GPU time. Raises RecordsError if there is no table, which is what
    nsys prints when no kernel ran, or it is not the one asked for.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if _HEADER.match(line)), None)
    if start is None:
        msg = (
            f"{origin}: no CUDA kernel was captured. Did the server compute on the GPU while nsys"
            " was collecting?"
        )
        raise RecordsError(msg)
    table = csv.DictReader(lines[start:])
    missing = {_TOTAL, _INSTANCES, _NAME} - set(table.fieldnames or ())
    if missing:
        msg = (
            f"{origin}: nsys' table lacks {', '.join(sorted(missing))}; it needs cuda_gpu_kern_sum"
        )
        raise RecordsError(msg)
    kernels = [_kernel(row, origin) for row in table if row[_NAME]]
    return tuple(sorted(kernels, key=lambda kernel: (-kernel.total_ns, kernel.name)))


def kind_of(name: str) -> KernelKind:
    """What the kernel of that name computes."""
    if _ATTENTION.search(name):
        return KernelKind.ATTENTION
    return KernelKind.GEMM if _GEMM.search(name) else KernelKind.OTHER


def shares(capture: PhaseCapture) -> dict[KernelKind, float]:
    """The share of the phase's GPU time that each kind takes."""
    times = dict.fromkeys(KernelKind, 0)
    for kernel in capture.kernels:
        times[kind_of(kernel.name)] += kernel.total_ns
    return {kind: time_ns / capture.total_ns for kind, time_ns in times.items()}


def compare(before: Capture, after: Capture) -> tuple[KernelChange, ...]:
    """Each kernel's time per request in two captures, the largest change first.

    Raises UsageError naming each field that differs if they are of other machines or loads: the
    times say nothing then.
    """
    if unlike := differing(after.identity, before.identity):
        raise UsageError("captures", "; ".join(unlike), "compare like with like")
    pairs = [
        (one, other) for one in before.phases for other in after.phases if one.phase is other.phase
    ]
    if not pairs:
        raise UsageError("captures", f"{before.point}, {after.point}", "they share no phase")
    for one, other in pairs:
        if one.workload != other.workload:
            rule = (
                f"its {one.phase} phase was captured under {one.workload}, compare like with like"
            )
            raise UsageError("captures", str(other.workload), rule)
    changes = (change for one, other in pairs for change in _changes(one, other))
    return tuple(sorted(changes, key=lambda change: -abs(change.change_ns)))


def _kernel(row: dict[str, str], origin: str) -> Kernel:
    try:
        return Kernel(name=row[_NAME], total_ns=int(row[_TOTAL]), instances=int(row[_INSTANCES]))
    except (TypeError, ValueError) as error:
        raise RecordsError(f"{origin}: not a row of cuda_gpu_kern_sum: {row}") from error


def _changes(before: PhaseCapture, after: PhaseCapture) -> Iterable[KernelChange]:
    old, new = _per_request(before), _per_request(after)
    for name in dict.fromkeys([*old, *new]):
        yield KernelChange(
            phase=before.phase,
            name=name,
            before_ns=old.get(name, 0.0),
            after_ns=new.get(name, 0.0),
        )


def _per_request(capture: PhaseCapture) -> dict[str, float]:
    times: dict[str, float] = {}
    for kernel in capture.kernels:
        times[kernel.name] = times.get(kernel.name, 0.0) + kernel.total_ns / capture.requests
    return times
