"""Where Triton is on this machine, and what it needs around it to start."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from perfgate.errors import MissingRequirementError

_STUB = "triton_python_backend_stub"


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonInstall:
    """A tritonserver binary, its python backend and the environment both run in."""

    binary: Path
    python_backend: Path
    stub: Path
    environment: dict[str, str]


def find_triton() -> TritonInstall:
    """Find the server inside the nvidia-pytriton wheel, ready for this Python.

    Raises MissingRequirementError if the wheel, its stub for this Python or a shared library is
    missing, with the way to get it.
    """
    root = _wheel_root()
    server = root / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / _STUB
    if not stub.is_file():
        known = ", ".join(sorted(folder.name for folder in stub.parents[1].glob("*")))
        msg = f"the Triton wheel has no python backend for Python {version}; it has {known}"
        raise MissingRequirementError(msg)
    install = TritonInstall(
        binary=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=stub,
        environment=_environment(root.parent / "nvidia_pytriton.libs"),
    )
    _require_libraries(install)
    return install


def make_backend_directory(install: TritonInstall, folder: Path) -> Path:
    """Lay out `folder` as Triton wants its backends: the python one, with this Python's stub."""
    backend = folder / "python"
    backend.mkdir(parents=True)
    for part in install.python_backend.iterdir():
        (backend / part.name).symlink_to(part)
    (backend / _STUB).symlink_to(install.stub)
    return folder


def _wheel_root() -> Path:
    # Found, not imported: importing pytriton costs a second and starts its own machinery.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        msg = "Triton is not installed: the simulated target needs `pip install 'perfgate[sim]'`"
        raise MissingRequirementError(msg)
    return Path(spec.submodule_search_locations[0])


def _environment(wheel_libraries: Path) -> dict[str, str]:
    """The environment of tritonserver and its stubs.

    The stub links libpython and finds numpy through the first `python3` on PATH, so both must be
    the running Python's; PYTHONPATH makes it the running perfgate too. (The stub of Python 3.12
    and newer starts isolated and ignores PYTHONPATH: there perfgate must be installed.)
    """
    libraries = [str(wheel_libraries), sysconfig.get_config_var("LIBDIR") or ""]
    inherited = os.environ.get("LD_LIBRARY_PATH", "")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": _joined(*libraries, inherited),
        "PATH": _joined(str(Path(sys.executable).parent), os.environ.get("PATH", "")),
        "PYTHONPATH": _joined(str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")),
        "CUDA_VISIBLE_DEVICES": "",
        # The stubs run one small thing at a time: thread pools would only fight over the cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _require_libraries(install: TritonInstall) -> None:
    missing = [
        name
        for program in (install.binary, install.stub)
        for name in missing_libraries(program, install.environment)
    ]
    if not missing:
        return
    msg = f"Triton needs shared libraries this machine lacks: {', '.join(missing)}."
    if any(name.startswith("libpython") for name in missing):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        msg += (
            f" Python {version} was built without its shared library: install it (Debian and"
            f" Ubuntu: apt install libpython{version}) or use a Python that has it (uv's,"
            " conda's, Debian's, or pyenv's built with --enable-shared)."
        )
    raise MissingRequirementError(msg)


def missing_libraries(program: Path, environment: dict[str, str]) -> tuple[str, ...]:
    """The shared libraries the loader cannot find for `program`, by asking the loader itself."""
    listing = subprocess.run(
        [program],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return tuple(
        line.split("=>")[0].strip()
        for line in listing.stdout.splitlines()
        if line.rstrip().endswith("=> not found")
    )


def _joined(*paths: str) -> str:
    return os.pathsep.join(path for path in paths if path)
