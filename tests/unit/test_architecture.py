"""Who may import what: decisions stay pure, input and output stay at the edges."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "perfgate"
MODULES = sorted(
    path.relative_to(ROOT / "src").as_posix().removesuffix(".py").replace("/", ".")
    for path in SOURCE.rglob("*.py")
)

VOCABULARY = ("perfgate.model", "perfgate.errors")
# Pure: a function of its arguments. A package stands for all its modules but those named in IMPURE.
PURE = (
    "perfgate.exports",
    "perfgate.gate",
    "perfgate.measure",
    "perfgate.report",
    "perfgate.sim",
    "perfgate.traffic",
    "perfgate.observe.doctor",
)
IMPURE = (
    "perfgate.sim.realtime",  # keeps real time
    "perfgate.sim.threaded",  # on a thread
)
FORBIDDEN_IN_PURE = {
    "asyncio",
    "multiprocessing",
    "os",
    "pytest",
    "random",
    "socket",
    "subprocess",
    "threading",
    "time",
    "grpc",
    "tritonclient",
}
JUDGING = (
    "perfgate.exports",
    "perfgate.gate",
    "perfgate.report",
    "perfgate.plugin",
    "perfgate.cli",
)
INPUT_OUTPUT = (
    "perfgate.engines",
    "perfgate.reference",
    "perfgate.serving",
    "perfgate.load",
    "perfgate.records",
    "perfgate.observe",
)
DRAWERS = {"util", "utils", "common", "helpers", "misc", "base", "manager", "core"}
LONGEST = 400


def imports(module):
    """Every module that `module` imports, by full name."""
    path = ROOT / "src" / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(module, packages):
    """Whether `module` is one of `packages` or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("module", VOCABULARY)
def test_the_vocabulary_needs_the_standard_library_only(module):
    """Every other module can import the nouns without importing anything else of ours."""
    ours = {name for name in imports(module) if within(name, ("perfgate",))}
    third = {"numpy", "scipy", "msgspec", "pytest"} & {
        name.split(".")[0] for name in imports(module)
    }

    assert all(within(name, VOCABULARY) for name in ours)
    assert not third


@pytest.mark.parametrize("module", [m for m in MODULES if within(m, PURE) and m not in IMPURE])
def test_decisions_are_pure(module):
    """Measuring, judging, rendering and simulating know no clock, process or socket."""
    assert not {name.split(".")[0] for name in imports(module)} & FORBIDDEN_IN_PURE


@pytest.mark.parametrize("module", [m for m in MODULES if within(m, INPUT_OUTPUT)])
def test_input_and_output_judge_nothing(module):
    """What builds, serves, drives and stores never asks what a number means."""
    assert not {name for name in imports(module) if within(name, JUDGING)}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests" / "perf").glob("*.py")), ids=lambda p: p.name
)
def test_the_specification_imports_no_machinery(path):
    """Perf tests read as the specification: fixtures and the vocabulary, nothing else."""
    tree = ast.parse(path.read_text())
    names = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert names <= {"pytest", "perfgate.model", "collections.abc", "__future__"}


def test_no_module_is_a_drawer():
    """A module has a name of its own."""
    assert not {module for module in MODULES if module.split(".")[-1] in DRAWERS}


def test_no_module_holds_two_things():
    """A file stays short enough to be read in one go."""
    long = {
        path.name: count
        for path in (*SOURCE.rglob("*.py"), *(ROOT / "fixtures").glob("*.py"))
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long


def test_a_start_waits_for_nothing_it_does_not_use():
    """Plugin and command line load no statistics, optimiser or plot until they need one."""
    code = "import sys, perfgate.plugin, perfgate.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert "perfgate.plugin" in loaded
    late = {"scipy.stats", "scipy.optimize", "scipy.special", "matplotlib.figure", "optuna", "ray"}
    assert not loaded & late


def test_conftest_holds_no_logic():
    """The root conftest names plugins and stays under 20 lines."""
    text = (ROOT / "conftest.py").read_text()

    assert len(text.splitlines()) < 20
    assert "def " not in text


def test_nothing_is_run_through_a_shell_or_unpickled():
    """No command goes through a shell, no data through pickle or eval."""
    for path in (*SOURCE.rglob("*.py"), *(ROOT / "fixtures").glob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        keywords = {word.arg for node in calls for word in node.keywords}

        assert not names & {"eval", "exec", "__import__"}, path
        assert "shell" not in keywords, path
        assert "pickle" not in path.read_text(), path
