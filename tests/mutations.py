"""Break each flag, tensor, type and parameter name once, and see that some unit test notices.

    python tests/mutations.py [--jobs 2] [--only NAME] [--journal FILE]

Works on copies; the tree itself is not touched. A name counts as noticed if a test fails that
passes without the mutation. What breaks so early that no test is reached is counted apart, as is
what never ends. Prints every name whose loss nobody noticed and ends with status 1 if there is one.
With a journal, a run goes on where an earlier one stopped; what is known of a name holds as long as
its file and the tests that must notice stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "perfgate"
PARTS = ("src", "tests", "fixtures", "hardware", "docs", "baselines")
FILES = ("conftest.py", "pyproject.toml", "points.toml", "policy.toml", "trtllm.toml")
# What a type becomes: another that protobuf knows as well.
TYPES = {
    "INT32": "INT64",
    "INT64": "INT32",
    "UINT64": "INT64",
    "FP32": "FP16",
    "BOOL": "INT32",
    "STRING": "INT32",
}
FLAG = re.compile(r'"(--[a-z][a-z0-9_-]+)')
NAME = re.compile(r'"([A-Za-z_][A-Za-z0-9_]+)"')
FIELD = re.compile(r'"(?:\{_[A-Z]+\}\.)?([A-Za-z0-9_.]{2,})"')
KEY = re.compile(r'"([A-Za-z_]{2,})":')
VALUE = re.compile(r'": "([A-Za-z0-9_]+)"')

# Which names of which file are broken, and which tests must notice.
TARGETS = (
    ("engines/commands.py", FLAG, ("engines_commands", "plan")),
    ("engines/commands.py", VALUE, ("engines_commands", "plan")),
    ("engines/containers.py", FLAG, ("engines_containers",)),
    ("serving/command.py", FLAG, ("serving_command",)),
    ("serving/tensors.py", NAME, ("serving_repository", "plan", "serving_models_llmapi")),
    ("serving/repository.py", KEY, ("serving_repository", "plan", "serving_models_llmapi")),
    ("serving/repository.py", VALUE, ("serving_repository", "plan", "serving_models_llmapi")),
    ("serving/llm_arguments.py", KEY, ("serving_models_llmapi",)),
    ("serving/llm_arguments.py", VALUE, ("serving_models_llmapi",)),
    ("serving/models/llmapi.py", NAME, ("serving_models_llmapi",)),
    ("serving/models/preprocessing.py", NAME, ("serving_models",)),
    ("serving/models/postprocessing.py", NAME, ("serving_models",)),
    ("serving/simulated/asks.py", NAME, ("serving_simulated_asks",)),
    ("serving/simulated/replies.py", NAME, ("serving_simulated_replies",)),
    ("load/tensors.py", NAME, ("load_tensors",)),
    ("observe/gauges.py", NAME, ("observe_watch",)),
    ("engines/inspect.py", FIELD, ("engines_inspect",)),
    ("engines/llmapi.py", FIELD, ("engines_llmapi",)),
    ("observe/nsys.py", FLAG, ("profiling",)),
)
# Names whose change changes nothing that anyone outside could see, and why.
EQUIVALENT = {
    ("serving/models/llmapi.py", "llm"): "the name of a thread",
    ("serving/models/llmapi.py", "cancellation"): "the name of a thread",
    ("serving/simulated/asks.py", "words"): "a value that an error message shows",
    ("serving/tensors.py", "llmapi"): "a key of our own tables; Triton knows the model by another",
}
ENDS = {
    pytest.ExitCode.OK: "unnoticed",
    None: "never ended",
}
PATIENCE_S = 600  # a failing property is shrunk first


@dataclass(frozen=True)
class Mutation:
    """One name in one place, and who must notice.

    `key` says where it is in which text, and what the tests were: a change in them is another key.
    """

    key: str
    file: str
    start: int
    name: str
    tests: tuple[str, ...]

    def apply(self, text):
        """The file with that one name changed."""
        end = self.start + len(self.name)
        return text[: self.start] + TYPES.get(self.name, f"{self.name}x") + text[end:]


@dataclass(frozen=True)
class Outcome:
    """How the tests ended: `noticed`, `unnoticed`, `at import`, `never ended`; and who noticed."""

    key: str
    end: str
    who: str = ""


def mutations(only):
    """Every mutation, in file order."""
    for file, pattern, tests in TARGETS:
        text = (PACKAGE / file).read_text()
        code = text[text.index("from __future__") :]
        offset = len(text) - len(code)
        texts = [text, *((ROOT / module_of(name)).read_text() for name in tests)]
        state = hashlib.sha256("".join(texts).encode()).hexdigest()[:12]
        for found in pattern.finditer(_without_prose(code)):
            name = found[1]
            if (file, name) not in EQUIVALENT and (only is None or only in name):
                start = offset + found.start(1)
                yield Mutation(f"{file}:{start}:{state}", file, start, name, tests)


def module_of(name):
    """The unit test module of that name."""
    return f"tests/unit/test_{name}.py"


def _without_prose(code):
    """The code with docstrings and comments blanked out, every offset kept."""
    blank = re.compile(r'"""(?:.|\n)*?"""|#.*')
    return blank.sub(lambda found: " " * len(found[0]), code)


def copy_tree(folder):
    """A copy of all that the tests need."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    return folder


def outcome(mutation, tree):
    """What the tests make of the broken name; the file is as it was afterwards, its times too."""
    path = tree / "src" / "perfgate" / mutation.file
    text, times = path.read_text(), path.stat()
    path.write_text(mutation.apply(text))
    # Of another second than any compiled file, whatever its size.
    os.utime(path, (0, 0))
    try:
        status, who = run_tests(tree, mutation.tests)
    finally:
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return Outcome(mutation.key, "noticed" if who else ENDS.get(status, "at import"), who)


class Tell:
    """A pytest plugin that tells the first test that failed, and in the end what was imported."""

    def __init__(self, pipe):
        self.pipe = pipe

    def pytest_runtest_logreport(self, report):
        """Tell of a failure at once: the run stops there."""
        if report.failed:
            self.pipe.write(f"failed {report.nodeid}\n")

    def pytest_unconfigure(self):
        """Tell of the libraries, so that they need be imported only once."""
        for name, module in list(sys.modules.items()):
            if "site-packages" in (getattr(module, "__file__", None) or ""):
                self.pipe.write(f"import {name}\n")


def run_tests(tree, tests, *, compiled=False):
    """The status of the tests in that tree, None if they never end, and the first that failed.

    In a fork that has not imported perfgate yet, but all that it imports: starting Python for each
    name would take most of the time. `compiled` says to leave compiled files for the next run.
    """
    told = tree / "told"
    child = os.fork()
    if not child:
        _become_pytest(tree, tests, told, compiled=compiled)
    deadline = time.monotonic() + PATIENCE_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, ""
        time.sleep(0.01)  # waiting for a child has no time limit of its own
    lines = told.read_text().splitlines() if told.exists() else []
    failed = [line.removeprefix("failed ") for line in lines if line.startswith("failed ")]
    if compiled:
        _import_all(line.removeprefix("import ") for line in lines if line.startswith("import "))
    return os.waitstatus_to_exitcode(ended[1]), failed[0] if failed else ""


def _become_pytest(tree, tests, told, *, compiled):
    os.setpgid(0, 0)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = f"{tree / 'src'}:{tree}"
    sys.path[:0] = [str(tree / "src"), str(tree)]
    sys.dont_write_bytecode = not compiled
    files = [module_of(name) for name in tests]
    # The suite's own plugins need not be loaded.
    options = ["-q", "-x", "-p", "no:cacheprovider", "--confcutdir=tests/unit"]
    options += ["-p", "fixtures.mocked"]
    # Imported before pytest could rewrite their assertions, which are no business of ours.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = 70
    try:
        with told.open("w") as pipe:
            status = pytest.main([*options, *files], plugins=[Tell(pipe)])
    finally:
        os._exit(status)


def _import_all(names):
    for name in names:
        with contextlib.suppress(Exception):
            import_module(name)


def work(share, tree, journal):
    """Break one name after the other and write down what came of it."""
    for done, mutation in enumerate(share, start=1):
        found = outcome(mutation, tree)
        with journal.open("a") as file:
            file.write(f"{json.dumps(asdict(found))}\n")
        if found.end != "noticed":
            say(f"{found.end}: {mutation.name} in {mutation.file} {found.who}")
        if done % 25 == 0:
            say(f"{done} of {len(share)}")
    os._exit(0)


def read_journal(path):
    """The outcomes so far, by key."""
    lines = path.read_text().splitlines() if path.exists() else []
    known = [Outcome(**json.loads(line)) for line in lines]
    return {one.key: one for one in known}


def main():
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="names that contain this")
    parser.add_argument("--journal", type=Path, help="go on from this file")
    options = parser.parse_args()
    planned = list(mutations(options.only))
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder) / "0")
        journal = options.journal or Path(folder) / "journal"
        known = read_journal(journal)
        left = [mutation for mutation in planned if mutation.key not in known]
        if left:
            require_passing(left, tree)
            run_children(left, [tree, *more_trees(tree, options.jobs)], journal)
        known = read_journal(journal)
    ends = Counter(known[mutation.key].end for mutation in planned)
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    say(f"{len(planned)} names broken one by one: {told}; {len(EQUIVALENT)} equivalent, left out")
    sys.exit(ends["noticed"] + ends["at import"] < len(planned))


def require_passing(left, tree):
    """End unless all tests pass in the tree as it is; leaves it compiled."""
    everything = tuple(dict.fromkeys(name for one in left for name in one.tests))
    if (found := run_tests(tree, everything, compiled=True))[0] != pytest.ExitCode.OK:
        sys.exit(f"the tests fail without any mutation: {found}")


def more_trees(tree, jobs):
    """Copies of the tree for the other jobs, compiled files and all."""
    for job in range(1, jobs):
        yield shutil.copytree(tree, tree.with_name(str(job)))


def run_children(left, trees, journal):
    """Share the mutations out among as many processes as there are trees."""
    children = []
    for job, tree in enumerate(trees):
        if not (child := os.fork()):
            work(left[job :: len(trees)], tree, journal)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def say(line):
    """Tell it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
