"""Engine -> Server: the repository rendered, Triton booted behind it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from perfgate import dilation
from perfgate.engines.site import TOKENIZER, read_origin
from perfgate.errors import MissingRequirementError
from perfgate.gpus import ORDER, VISIBLE
from perfgate.model import Engine, Server, ServingSpec, Target
from perfgate.serving.command import HOST, Ports, server_command
from perfgate.serving.hardware import BINARY, TRITONSERVER, hardware_command
from perfgate.serving.launch import Launch, PortTakenError, pick_ports, run
from perfgate.serving.render import Order, render
from perfgate.serving.repository import served_model
from perfgate.serving.tokenizer import load_tokenizer, save_tokenizer
from perfgate.serving.triton import find_triton, make_backend_directory
from perfgate.trtllm import Runner

READY_TIMEOUT_S = 120.0
# Loading weights of tens of gigabytes, and warming kernels up, takes its time.
HARDWARE_READY_TIMEOUT_S = 1200.0
Plan = Callable[[], Launch]
_PORT_ATTEMPTS = 3


@contextmanager
def serve(
    engine: Engine,
    serving: ServingSpec,
    *,
    workdir: Path,
    ports: Ports | None = None,
    under: tuple[str, ...] = (),
    sources: Path | None = None,
    time_dilation: int = 1,
    ready_timeout_s: float | None = None,
) -> Iterator[Server]:
    """Boot Triton with the engine behind it and yield it once its models answer.

    It listens on `ports` of the loopback interface, on free ones if none are given. `under` is a
    command line to run Triton under, such as a profiler's; `sources` the source tree of a perfgate
    that sets the models up instead of this one. A simulated engine runs `time_dilation` times
    slower than real time, and says so in its metrics. All it writes, its log too, lies under
    `workdir`.
    However this ends, even by SIGKILL, no process, port or shared-memory segment is left. Raises
    ServerError with the log's last lines if Triton dies or is not ready in time,
    MissingRequirementError if it cannot run here.
    """
    if engine.target in {Target.SIM, Target.REFERENCE}:
        prepare, patience_s = _prepare_wheel, READY_TIMEOUT_S
    else:
        prepare, patience_s = _prepare_hardware, HARDWARE_READY_TIMEOUT_S
    prepared = prepare(engine, serving, workdir, ports, sources)
    plan = _wrapped(prepared, under, {dilation.VARIABLE: str(time_dilation)})
    with ExitStack() as stack:
        yield start(stack, plan, ready_timeout_s=ready_timeout_s or patience_s)


def device_environment(target: Target) -> dict[str, str]:
    """What the target's server needs of the GPU: by default it sees none."""
    if target is not Target.REFERENCE:
        return {}
    visible = os.environ.get(VISIBLE)
    return {
        **ORDER,  # by which the hardware profile was chosen
        VISIBLE: "0" if visible is None else visible,
        # Kernels are compiled inside Triton's stub, which must not fork a pool of its own.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }


def start(stack: ExitStack, plan: Callable[[], Launch], *, ready_timeout_s: float) -> Server:
    """Run what `plan` plans until `stack` closes; plan again if a port was taken meanwhile."""
    for _ in range(_PORT_ATTEMPTS - 1):
        with contextlib.suppress(PortTakenError):
            return stack.enter_context(run(plan(), ready_timeout_s=ready_timeout_s))
    return stack.enter_context(run(plan(), ready_timeout_s=ready_timeout_s))


def _wrapped(plan: Plan, under: tuple[str, ...], environment: dict[str, str]) -> Plan:
    def wrapped() -> Launch:
        launch = plan()
        return dataclasses.replace(
            launch,
            argv=(*under, *launch.argv),
            environment=launch.environment | environment,
        )

    return wrapped


def _prepare_wheel(
    engine: Engine,
    serving: ServingSpec,
    workdir: Path,
    wanted: Ports | None,
    sources: Path | None,
) -> Plan:
    install = find_triton()
    tokenizer_dir = workdir / "tokenizer"
    save_tokenizer(load_tokenizer(), tokenizer_dir)
    order = Order(root=workdir, engine=engine, serving=serving, tokenizer_dir=tokenizer_dir)
    repository = render(order, sources)
    backends = make_backend_directory(install, workdir / "backends")
    environment = install.environment | device_environment(engine.target)
    if sources is not None:  # the engine's stand-in is part of what that perfgate serves
        paths = (str(sources), environment["PYTHONPATH"])
        environment |= {"PYTHONPATH": os.pathsep.join(paths)}

    def plan() -> Launch:
        ports, identity = wanted or pick_ports(), new_identity()
        argv = server_command(
            install.binary,
            repository=repository,
            backends=backends,
            ports=ports,
            identity=identity,
        )
        return _launch(engine, workdir, ports, identity, argv, environment)

    return plan


def _prepare_hardware(
    engine: Engine,
    serving: ServingSpec,
    workdir: Path,
    wanted: Ports | None,
    sources: Path | None,
) -> Plan:
    origin = read_origin(engine.directory)
    order = Order(
        root=workdir,
        engine=engine,
        serving=serving,
        tokenizer_dir=origin.checkpoint,
        tensorrt_llm=origin.tensorrt_llm,
    )
    repository = render(order, sources)
    binary = BINARY if origin.runner is Runner.DOCKER else find_tritonserver()

    def plan() -> Launch:
        ports, identity = wanted or pick_ports(), new_identity()
        run = hardware_command(
            origin,
            binary=binary,
            repository=repository,
            engine=engine.directory,
            ports=ports,
            identity=identity,
            gpu=os.environ.get(VISIBLE, "0"),
        )
        environment = {**os.environ, **run.command.environment}
        argv = run.command.argv
        return _launch(engine, workdir, ports, identity, argv, environment, run.cleanup)

    return plan


def find_tritonserver() -> Path:
    """The server where NVIDIA's container has it, or on PATH; MissingRequirementError if neither.

    PATH comes first: whoever puts another one there means it.
    """
    found = shutil.which(TRITONSERVER) or (str(BINARY) if BINARY.is_file() else None)
    if found is None:
        msg = (
            f"{TRITONSERVER} is neither on PATH nor at {BINARY}: run inside the container named in"
            ' trtllm.toml, or set runner = "docker" there'
        )
        raise MissingRequirementError(msg)
    return Path(found)


def tokenizer_of(engine: Engine, model_folder: Path | None) -> Tokenizer:
    """The tokenizer of the model behind the engine: prompts of an exact length need it.

    A server that is already running shows none: it is taken from `model_folder` if that has one,
    or is the simulated model's; the server's own token count tells if that was another one.
    Raises MissingRequirementError if an engine's checkpoint has none.
    """
    if engine.target is Target.REMOTE and model_folder and (model_folder / TOKENIZER).is_file():
        return Tokenizer.from_file(str(model_folder / TOKENIZER))
    if engine.target in {Target.SIM, Target.REFERENCE, Target.REMOTE}:
        return load_tokenizer()
    path = read_origin(engine.directory).checkpoint / TOKENIZER
    if not path.is_file():
        msg = f"{path} is not there: prompts of an exact length need the model's fast tokenizer"
        raise MissingRequirementError(msg)
    return Tokenizer.from_file(str(path))


def new_identity() -> str:
    """A server's name, of its own on this machine: prefix of its shared memory too."""
    return f"perfgate-{secrets.token_hex(6)}-"


def _launch(  # noqa: PLR0917 - the parts of one value
    engine: Engine,
    workdir: Path,
    ports: Ports,
    identity: str,
    argv: tuple[str, ...],
    environment: dict[str, str],
    cleanup: tuple[str, ...] = (),
) -> Launch:
    log = workdir / "triton.log"
    return Launch(
        argv=argv,
        environment=environment,
        identity=identity,
        log=log,
        cleanup=cleanup,
        server=server_at(ports, engine, log),
    )


def server_at(ports: Ports, engine: Engine, log: Path) -> Server:
    """The addresses at which a Triton of ours answers."""
    return Server(
        grpc_url=f"{HOST}:{ports.grpc}",
        http_url=f"http://{HOST}:{ports.http}",
        metrics_url=f"http://{HOST}:{ports.metrics}/metrics",
        model=served_model(engine.target),
        simulated=engine.simulated,
        log=log,
    )
