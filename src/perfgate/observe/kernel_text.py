"""A capture and the difference of two for people. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perfgate.observe.kernels import Capture, KernelChange, PhaseCapture, kind_of, shares

TOP = 10
_NAME_WIDTH = 90


def capture_text(capture: Capture) -> str:
    """Each phase: the shares of the kinds, then the kernels that take most time."""
    title = f"{capture.point} on {capture.target}, profiled; such a run is never judged"
    return "\n".join([title, *(line for phase in capture.phases for line in _phase(phase))]) + "\n"


def comparison_text(changes: Sequence[KernelChange]) -> str:
    """The kernels whose time per request changed most, and the sum of all changes."""
    total = sum(change.change_ns for change in changes)
    lines = [
        "GPU time per request, before -> after, the largest changes first",
        *(_change(change) for change in changes[:TOP]),
        f"  all kernels {total / 1e3:+.1f} µs",
    ]
    return "\n".join(lines) + "\n"


def _phase(phase: PhaseCapture) -> Iterable[str]:
    load = phase.workload
    kinds = ", ".join(f"{kind} {share:.1%}" for kind, share in shares(phase).items())
    shape = f"{load.isl} input and {load.osl} output tokens at concurrency {load.concurrency}"
    yield ""
    yield f"{phase.phase}: {phase.requests} requests of {shape}"
    yield f"  GPU time {phase.total_ns / 1e6:.1f} ms: {kinds}"
    for kernel in phase.kernels[:TOP]:
        each_us = kernel.total_ns / max(kernel.instances, 1) / 1e3
        yield (
            f"  {kernel.total_ns / phase.total_ns:6.1%}  {kernel.total_ns / 1e6:10.2f} ms"
            f"  {kernel.instances:>7} x {each_us:8.1f} µs"
            f"  {kind_of(kernel.name):9}  {kernel.name[:_NAME_WIDTH]}"
        )


def _change(change: KernelChange) -> str:
    return (
        f"  {change.phase:7}  {change.change_ns / 1e3:+10.1f} µs"
        f"  {change.before_ns / 1e3:10.1f} -> {change.after_ns / 1e3:.1f}"
        f"  {kind_of(change.name):9}  {change.name[:_NAME_WIDTH]}"
    )
