"""Where Triton is, and what it says when something around it is missing."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from perfgate.errors import MissingRequirementError
from perfgate.serving import triton
from perfgate.serving.triton import (
    TritonInstall,
    find_triton,
    make_backend_directory,
    missing_libraries,
)

pytestmark = pytest.mark.unit

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def program(path):
    """A file where a program stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def loader(monkeypatch, *lines):
    """Stand for the loader, which lists a program's libraries instead of running it."""

    def run(_argv, *, env, **_):
        assert env["LD_TRACE_LOADED_OBJECTS"] == "1"
        return SimpleNamespace(stdout="".join(f"\t{line}\n" for line in lines))

    monkeypatch.setattr(triton.subprocess, "run", run)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A function that lays out a Triton wheel with a stub for one Python version."""

    def lay_out(*, stub=PYTHON, libraries=()):
        server = tmp_path / "pytriton" / "tritonserver"
        program(server / "bin" / "tritonserver")
        program(server / "python_backend_stubs" / stub / "triton_python_backend_stub")
        loader(monkeypatch, "libc.so.6 => /lib/libc.so.6 (0x0)", *libraries)
        backend = server / "backends" / "python"
        backend.mkdir(parents=True)
        (backend / "libtriton_python.so").touch()
        monkeypatch.setattr(triton, "_wheel_root", lambda: tmp_path / "pytriton")
        return server

    return lay_out


def test_the_wheel_s_server_is_found_with_what_it_needs(wheel, tmp_path):
    """Binary and stub of the wheel; libraries, Python and no GPU in the environment."""
    server = wheel()

    install = find_triton()

    assert install.binary == server / "bin" / "tritonserver"
    environment = install.environment
    libraries = environment["LD_LIBRARY_PATH"].split(":")
    assert libraries[0] == str(tmp_path / "nvidia_pytriton.libs")
    assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert (Path(environment["PYTHONPATH"].split(":")[0]) / "perfgate").is_dir()
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_a_python_without_a_stub_is_told_the_versions(wheel):
    """The message names this Python and those the wheel serves."""
    wheel(stub="2.7")

    with pytest.raises(MissingRequirementError, match=rf"Python {PYTHON}; it has 2\.7"):
        find_triton()


def test_a_missing_libpython_names_the_package(wheel):
    """The commonest gap comes with the command that closes it."""
    wheel(libraries=[f"libpython{PYTHON}.so.1.0 => not found"])

    with pytest.raises(MissingRequirementError, match=rf"apt install libpython{PYTHON}"):
        find_triton()


def test_any_other_missing_library_is_named(wheel):
    """Without advice that does not fit."""
    wheel(libraries=["libre2.so.5 => not found"])

    with pytest.raises(MissingRequirementError, match=r"lacks: .*libre2\.so\.5\.$"):
        find_triton()


def test_no_wheel_at_all_names_the_install(monkeypatch):
    """The extra that brings it."""
    monkeypatch.setattr(triton.importlib.util, "find_spec", lambda _: None)

    with pytest.raises(MissingRequirementError, match=r"pip install 'perfgate\[sim\]'"):
        find_triton()


def test_the_loader_s_listing_is_read(monkeypatch):
    """Only what was not found is missing."""
    loader(
        monkeypatch,
        "linux-vdso.so.1 (0x0)",
        "libm.so.6 => /lib/libm.so.6 (0x0)",
        "libgone.so.1 => not found",
    )

    assert missing_libraries(Path("any"), {}) == ("libgone.so.1",)


def test_the_backend_directory_holds_this_python_s_stub(tmp_path):
    """Triton finds the python backend and beside it the stub of the running version."""
    stub = program(tmp_path / "stubs" / "triton_python_backend_stub")
    backend = tmp_path / "wheel"
    backend.mkdir()
    (backend / "libtriton_python.so").touch()
    install = TritonInstall(binary=stub, python_backend=backend, stub=stub, environment={})

    folder = make_backend_directory(install, tmp_path / "backends")

    assert (folder / "python" / "libtriton_python.so").is_file()
    assert (folder / "python" / "triton_python_backend_stub").resolve() == stub
