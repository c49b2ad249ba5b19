"""The tritonserver of a hardware target: its command, here or in the container. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from perfgate.engines.commands import Command
from perfgate.engines.containers import Container, contained, removal
from perfgate.engines.flags import check_argv
from perfgate.engines.site import Origin
from perfgate.gpus import ORDER, VISIBLE
from perfgate.serving.command import Ports, server_command
from perfgate.trtllm import Runner

BINARY = Path("/opt/tritonserver/bin/tritonserver")
TRITONSERVER = "tritonserver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is run, and the last command that ends what does not end with it."""

    command: Command
    cleanup: tuple[str, ...] = ()


def hardware_command(
    origin: Origin,
    *,
    binary: Path,
    repository: Path,
    engine: Path,
    ports: Ports,
    identity: str,
    gpu: str,
) -> Serving:
    """The command that serves `repository` with the engine at `engine` on `gpu`.

    Raises UsageError naming flag and version if that tritonserver would not understand it.
    """
    argv = server_command(
        binary, repository=repository, backends=None, ports=ports, identity=identity
    )
    check_argv(TRITONSERVER, origin.tritonserver, argv[1:])
    environment = {**origin.environment, **ORDER, VISIBLE: gpu}
    command = Command(name=TRITONSERVER, argv=argv, environment=environment)
    if origin.runner is Runner.LOCAL:
        return Serving(command=command)
    name = identity.rstrip("-")
    # In the container there is one GPU, whatever its number outside.
    inside = Command(name=TRITONSERVER, argv=argv, environment=dict(origin.environment))
    box = Container(
        image=origin.container,
        shm_size=origin.shm_size,
        gpu=gpu,
        user=f"{os.getuid()}:{os.getgid()}",
        read_only=(engine, origin.checkpoint),
        writable=(repository.parent,),
    )
    return Serving(command=contained(inside, box, name=name, network="host"), cleanup=removal(name))
