"""The engine cache: built once, whole or not at all, whoever asks at the same time."""

import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.engines.cache import cached, digest
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

BUILDER = """
import sys, time
from pathlib import Path
from perfgate.engines.cache import cached

cache, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def build(folder):
    with log.open("a") as file:
        file.write("built\\n")
    (folder / "half").write_text("1")
    print("half", flush=True)
    time.sleep(seconds)
    (folder / "whole").write_text("2")

cached(cache, "engine", build)
"""

PARTS = st.dictionaries(st.sampled_from("abcd"), st.integers() | st.text(), min_size=1)


def builder(folder, seconds):
    """A process of its own that builds `engine`, taking `seconds` over it."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, folder / "cache", folder / "log", str(seconds)],
        cwd=ROOT / "src",
        stdout=subprocess.PIPE,
        text=True,
    )


def write(folder):
    """A build that works."""
    (folder / "whole").write_text("2")


@given(PARTS, PARTS)
def test_a_digest_tells_engines_apart(one, other):
    """Equal parts give the same name in any order, other parts another one."""
    assert digest(**one) == digest(**dict(reversed(one.items())))
    assert (digest(**one) == digest(**other)) == (one == other)


def test_a_built_engine_is_not_built_again(tmp_path):
    """The second caller gets what the first one built."""
    builds = []

    def build(folder):
        builds.append(folder)
        write(folder)

    first = cached(tmp_path, "engine", build)
    second = cached(tmp_path, "engine", build)

    assert first == second == tmp_path / "engine"
    assert (first / "whole").read_text() == "2"
    assert len(builds) == 1


def test_a_failed_build_leaves_nothing(tmp_path):
    """What raised is raised on, no half engine has the name, and the next build starts clean."""

    def fail(folder):
        (folder / "half").write_text("1")
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        cached(tmp_path, "engine", fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    assert not (cached(tmp_path, "engine", write) / "half").exists()


def test_threads_that_ask_at_once_make_one_build(tmp_path):
    """Everybody waits for the one who came first."""
    builds = []

    def build(folder):
        builds.append(folder)
        time.sleep(0.05)
        write(folder)

    threads = [threading.Thread(target=cached, args=(tmp_path, "engine", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(builds) == 1


def test_processes_that_ask_at_once_make_one_build(tmp_path):
    """The lock holds across processes, as across xdist workers."""
    processes = [builder(tmp_path, 0.2) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=20)

    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_killed_build_leaves_no_half_engine(tmp_path):
    """SIGKILL amid a build: nothing under the engine's name, and the next build is whole."""
    process = builder(tmp_path, 600)
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert not (tmp_path / "cache" / "engine").exists()
    assert list((tmp_path / "cache").glob(".building-*"))

    final = cached(tmp_path / "cache", "engine", write)

    assert [path.name for path in final.iterdir()] == ["whole"]
    assert not list((tmp_path / "cache").glob(".building-*"))
