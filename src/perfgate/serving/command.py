"""The tritonserver command line: every flag perfgate passes, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfgate.errors import UsageError

HOST = "127.0.0.1"
# How long Triton waits for requests in flight when it is told to stop.
EXIT_TIMEOUT_S = 3
RESPONSE_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where Triton listens."""

    http: int
    grpc: int
    metrics: int

    def __post_init__(self) -> None:
        """Refuse to listen for two things in one place."""
        if len({self.http, self.grpc, self.metrics}) < 3:  # noqa: PLR2004 - the three fields
            ports = f"{self.http}, {self.grpc}, {self.metrics}"
            raise UsageError("ports", ports, "HTTP, gRPC and metrics each need one of their own")


def server_command(
    binary: Path, *, repository: Path, backends: Path | None, ports: Ports, identity: str
) -> tuple[str, ...]:
    """Build the argv; `identity` names the server and its shared-memory segments, uniquely.

    Without `backends` the server uses the backends it was installed with.
    """
    return (
        str(binary),
        f"--model-repository={repository}",
        *([] if backends is None else [f"--backend-directory={backends}"]),
        # The repository is complete; completing it would load every Python model twice.
        "--disable-auto-complete-config",
        f"--id={identity}",
        f"--backend-config=python,shm-region-prefix-name={identity}",
        # Responses of a decoupled model go through this pool; its default of 32 threads only
        # contend for one lock.
        f"--backend-config=python,thread-pool-size={RESPONSE_THREADS}",
        # No port is ever open to the network.
        f"--http-address={HOST}",
        f"--http-port={ports.http}",
        f"--grpc-address={HOST}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={HOST}",
        f"--metrics-port={ports.metrics}",
        # Percentiles of request latency over the last minute: the only P95 the server itself knows.
        "--metrics-config=summary_latencies=true",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
    )
