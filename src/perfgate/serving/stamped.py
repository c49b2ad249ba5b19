"""A Triton that stamps what it sends, booted to calibrate the load client against."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]  # ships no types
from tritonclient.grpc.model_config_pb2 import ModelConfig

from perfgate.model import Server
from perfgate.serving.command import HOST, server_command
from perfgate.serving.launch import Launch, pick_ports
from perfgate.serving.process import READY_TIMEOUT_S, start
from perfgate.serving.tensors import TENSORRT_LLM
from perfgate.serving.triton import find_triton, make_backend_directory

_MODEL = Path(__file__).parent / "models" / "stamped.py"
# The inputs that the load client sends; the model reads `max_tokens` alone.
_INPUTS = (
    ("text_input", "TYPE_STRING"),
    ("max_tokens", "TYPE_INT32"),
    ("min_tokens", "TYPE_INT32"),
    ("end_id", "TYPE_INT32"),
    ("stream", "TYPE_BOOL"),
    ("return_num_output_tokens", "TYPE_BOOL"),
)
_OUTPUTS = (("text_output", "TYPE_STRING"), ("num_output_tokens", "TYPE_INT32"))


@contextmanager
def serve_stamped(*, step_s: float, workdir: Path) -> Iterator[Server]:
    """Boot Triton with a model that sends a token to each request every `step_s` seconds.

    At 0 it sends as fast as it can. Raises as `perfgate.serving.process.serve` does.
    """
    install = find_triton()
    repository = write_stamped(workdir / "models", step_s=step_s)
    backends = make_backend_directory(install, workdir / "backends")

    def plan() -> Launch:
        ports, identity = pick_ports(), f"perfgate-{secrets.token_hex(6)}-"
        log = workdir / "triton.log"
        return Launch(
            argv=server_command(
                install.binary,
                repository=repository,
                backends=backends,
                ports=ports,
                identity=identity,
            ),
            environment=install.environment,
            identity=identity,
            log=log,
            server=Server(
                grpc_url=f"{HOST}:{ports.grpc}",
                http_url=f"http://{HOST}:{ports.http}",
                metrics_url=f"http://{HOST}:{ports.metrics}/metrics",
                model=TENSORRT_LLM,
                simulated=True,
                log=log,
            ),
        )

    with ExitStack() as stack:
        yield start(stack, plan, ready_timeout_s=READY_TIMEOUT_S)


def write_stamped(repository: Path, *, step_s: float) -> Path:
    """Write the repository of the one model, under the engine's name; returns its path."""
    config = ModelConfig(name=TENSORRT_LLM, backend="python")
    for name, kind in _INPUTS:
        config.input.add(name=name, data_type=kind, dims=[1], optional=name != "text_input")
    for name, kind in _OUTPUTS:
        config.output.add(name=name, data_type=kind, dims=[1])
    config.model_transaction_policy.decoupled = True
    config.instance_group.add(count=1, kind="KIND_CPU")
    config.parameters["step_us"].string_value = str(round(step_s * 1e6))
    folder = repository / config.name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    shutil.copyfile(_MODEL, folder / "1" / "model.py")
    return repository
