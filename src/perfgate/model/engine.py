"""What is built and booted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfgate.model.spec import EngineSpec, Protocol, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A built engine: where it lies, what it was asked to be, and the digest that names it."""

    spec: EngineSpec
    target: Target
    directory: Path
    digest: str

    @property
    def simulated(self) -> bool:
        """Whether no GPU computes behind this engine."""
        return self.target is Target.SIM


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server that answers: addresses, never a process manager.

    `protocol` is how it is asked for tokens. Only a Triton has a `grpc_url`.
    """

    grpc_url: str
    http_url: str
    metrics_url: str
    model: str = "ensemble"
    simulated: bool
    protocol: Protocol = Protocol.GRPC
    pid: int | None = None
    log: Path | None = None
