"""A command -> the same command in the pinned container: pure rendering of `docker run`.

Folders are mounted at the path they have outside, so that every argument means the same inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perfgate.engines.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """How the pinned container is run: image, GPU, user, and what it sees of this machine."""

    image: str
    shm_size: str
    gpu: str
    user: str
    read_only: tuple[Path, ...]
    writable: tuple[Path, ...]


def contained(command: Command, container: Container, *, name: str, network: str) -> Command:
    """The command as `docker run` has it.

    `name` is how the container is found again should its client die. `network` is `none` for
    builds, which need none, and `host` for a server, which binds the loopback interface only.
    """
    argv = (
        "docker",
        "run",
        "--rm",
        "--init",  # an init process hands SIGTERM on and reaps what the server leaves
        f"--name={name}",
        f"--network={network}",
        f"--gpus=device={container.gpu}",
        f"--shm-size={container.shm_size}",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        f"--user={container.user}",
        *_mounts(container),
        *(f"--env={key}={value}" for key, value in _environment(command).items()),
        f"--workdir={container.writable[0]}",
        container.image,
        *command.argv,
    )
    return replace(command, argv=argv, environment={})


def removal(name: str) -> tuple[str, ...]:
    """The argv that ends the container of that name, whether or not it still runs."""
    return ("docker", "rm", "--force", name)


def _mounts(container: Container) -> Sequence[str]:
    folders = [(path, ",readonly") for path in container.read_only]
    folders += [(path, "") for path in container.writable]
    return [f"--mount=type=bind,source={path},target={path}{mode}" for path, mode in folders]


def _environment(command: Command) -> dict[str, str]:
    # The user has no entry in the container's passwd: PyTorch asks for a name and a home.
    return {"HOME": "/tmp", "USER": "perfgate", **command.environment}  # noqa: S108 - the container's own
