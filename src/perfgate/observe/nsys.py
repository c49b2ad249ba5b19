"""Nsight Systems around a server: launched under it, collecting only while it is told to.

`nsys launch` starts the server and collects nothing; `nsys start` and `nsys stop` bound a capture
from outside, so that booting, loading weights and warming up stay out of it and one boot serves
both phases. A capture of the load client instead would be empty: it runs no kernel.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from perfgate.errors import MissingRequirementError, ServerError

_TIMEOUT_S = 600  # writing and exporting a report of many kernels takes minutes
_TAIL = 600
_PYTORCH_VARIABLES = "TLLM_PROFILE_RECORD_GC=1,TLLM_LLMAPI_ENABLE_NVTX=1"


class ServerKind(StrEnum):
    """What runs under nsys; the engine's own traces differ."""

    TRITON_ENGINE = "tritonserver with a TensorRT engine"
    TRITON_LLMAPI = "tritonserver with the LLM API"
    TRTLLM_SERVE = "trtllm-serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nsys:
    """One nsys session of one server."""

    program: str
    session: str

    def launch(self, kind: ServerKind) -> tuple[str, ...]:
        """What stands before the server's own command line.

        CUDA graphs are traced by node, or decode kernels would hide in their graphs; children that
        fork before they exec are followed, as Triton's Python stubs and MPI's ranks do.
        """
        pytorch = kind is not ServerKind.TRITON_ENGINE
        return (
            self.program,
            "launch",
            f"--session-new={self.session}",
            f"--trace=cuda,nvtx{',python-gil' if pytorch else ''}",
            "--cuda-graph-trace=node",
            "--trace-fork-before-exec=true",
            "--wait=all",
            *([f"--env-var={_PYTORCH_VARIABLES}"] if pytorch else ()),
        )

    def start(self, report: Path) -> tuple[str, ...]:
        """Begin to collect into `report`; the CPU is not sampled, which would slow the server."""
        return (
            self.program,
            "start",
            f"--session={self.session}",
            "--sample=none",
            "--cpuctxsw=none",
            "--force-overwrite=true",
            f"--output={report}",
        )

    def stop(self) -> tuple[str, ...]:
        """Write the report; the server runs on."""
        return (self.program, "stop", f"--session={self.session}")

    def shutdown(self) -> tuple[str, ...]:
        """End the session and whatever of it still runs."""
        return (self.program, "shutdown", f"--session={self.session}", "--kill=sigterm")

    def statistics(self, report: Path) -> tuple[str, ...]:
        """Print the kernel summary of a report as CSV."""
        return (
            *(self.program, "stats", "--report", "cuda_gpu_kern_sum", "--format", "csv"),
            *("--force-export=true", str(report)),
        )

    @contextmanager
    def collecting(self, report: Path) -> Iterator[None]:
        """Collect while the block runs; the report is written however it ends."""
        run(self.start(report))
        try:
            yield
        finally:
            run(self.stop())

    def end(self) -> None:
        """End the session, which may have ended with its server already."""
        subprocess.run(self.shutdown(), capture_output=True, timeout=_TIMEOUT_S, check=False)


def find_nsys() -> str:
    """The nsys on PATH; MissingRequirementError says where it comes from."""
    program = shutil.which("nsys")
    if program is None:
        msg = (
            "nsys is not on PATH: profiling needs NVIDIA Nsight Systems where the server runs"
            " (NVIDIA's containers have it in /opt/nvidia/nsight-systems; apt: nsight-systems-cli)"
        )
        raise MissingRequirementError(msg)
    return program


def run(argv: tuple[str, ...]) -> str:
    """Run one nsys command and return what it prints; ServerError with its last words."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise ServerError(f"`{' '.join(argv[:2])}` failed: {error}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-_TAIL:]
        raise ServerError(f"`{' '.join(argv[:2])}` exited with {done.returncode}: {words}")
    return done.stdout
