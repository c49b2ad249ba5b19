"""The same command in the pinned container: nothing changes but what is around it."""

from pathlib import Path

import pytest

from perfgate.engines.commands import Command
from perfgate.engines.containers import Container, contained, removal

pytestmark = pytest.mark.unit

COMMAND = Command(
    name="trtllm-build", argv=("trtllm-build", "--workers", "1"), environment={"A": "b"}
)
BOX = Container(
    image="nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3",
    shm_size="2g",
    gpu="3",
    user="1000:1000",
    read_only=(Path("/m/llama"),),
    writable=(Path("/c/engine"), Path("/c")),
)


def test_docker_run_is_rendered_word_for_word():
    """GPU, shared memory, limits, user, mounts, environment, the pinned image, then the command."""
    command = contained(COMMAND, BOX, name="perfgate-1", network="none")

    assert command.argv == (
        "docker",
        "run",
        "--rm",
        "--init",
        "--name=perfgate-1",
        "--network=none",
        "--gpus=device=3",
        "--shm-size=2g",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--user=1000:1000",
        "--mount=type=bind,source=/m/llama,target=/m/llama,readonly",
        "--mount=type=bind,source=/c/engine,target=/c/engine",
        "--mount=type=bind,source=/c,target=/c",
        "--env=HOME=/tmp",
        "--env=USER=perfgate",
        "--env=A=b",
        "--workdir=/c/engine",
        "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3",
        "trtllm-build",
        "--workers",
        "1",
    )
    assert command.environment == {}


def test_the_container_can_be_ended_by_its_name():
    """Killing docker's client leaves the container running."""
    assert removal("perfgate-1") == ("docker", "rm", "--force", "perfgate-1")
