"""Break each flag, tensor and parameter name once, and see that some unit test notices.

    python tests/mutations.py [--jobs 2] [--only NAME]

Works on copies; the tree itself is not touched. Prints every name whose loss nobody noticed and
ends with status 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("src", "tests", "fixtures", "hardware", "docs", "baselines")
FILES = ("conftest.py", "pyproject.toml", "points.toml", "policy.toml", "trtllm.toml")
TYPES = {"INT32", "INT64", "UINT64", "FP32", "BOOL", "STRING"}
FLAG = re.compile(r'"(--[a-z][a-z0-9_-]+)')
NAME = re.compile(r'"([A-Za-z_]{2,})"')
FIELD = re.compile(r'"(?:\{_[A-Z]+\}\.)?([A-Za-z0-9_.]{2,})"')
KEY = re.compile(r'"([A-Za-z_]{2,})":')

# Imported once, before every fork.
for library in ("numpy", "msgspec", "tokenizers", "typer", "filelock", "packaging"):
    import_module(library)
import_module("tritonclient.grpc.model_config_pb2")

# Which names of which file are broken, and which tests must notice.
TARGETS = (
    ("engines/commands.py", FLAG, ("engines_commands", "plan")),
    ("engines/containers.py", FLAG, ("engines_containers",)),
    ("serving/command.py", FLAG, ("serving_command",)),
    ("serving/tensors.py", NAME, ("serving_repository", "plan", "serving_models_llmapi")),
    ("serving/repository.py", KEY, ("serving_repository", "plan", "serving_models_llmapi")),
    ("serving/llm_arguments.py", KEY, ("serving_models_llmapi",)),
    ("serving/models/llmapi.py", NAME, ("serving_models_llmapi",)),
    ("serving/models/preprocessing.py", NAME, ("serving_models",)),
    ("serving/models/postprocessing.py", NAME, ("serving_models",)),
    ("serving/simulated/asks.py", NAME, ("serving_simulated_asks",)),
    ("engines/inspect.py", FIELD, ("engines_inspect",)),
    ("engines/llmapi.py", FIELD, ("engines_llmapi",)),
)
# Names that mean nothing outside the process.
UNSEEN = {"llm", "cancellation", "replace", "LLM", "llmapi", "words", "NOTHING"}


@dataclass(frozen=True)
class Mutation:
    """One name in one place, and who must notice."""

    file: str
    start: int
    name: str
    tests: tuple[str, ...]

    def apply(self, text):
        """The file with that one name changed."""
        end = self.start + len(self.name)
        return text[: self.start] + self.name + "x" + text[end:]


def mutations(only):
    """Every mutation, in file order."""
    for file, pattern, tests in TARGETS:
        text = (ROOT / "src" / "perfgate" / file).read_text()
        code = text[text.index("from __future__") :]
        offset = len(text) - len(code)
        for found in pattern.finditer(_without_prose(code)):
            name = found[1]
            if name not in TYPES | UNSEEN and (only is None or only in name):
                yield Mutation(file, offset + found.start(1), name, tests)


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


def survives(mutation, tree):
    """Whether all tests pass although the name is broken."""
    path = tree / "src" / "perfgate" / mutation.file
    text = path.read_text()
    path.write_text(mutation.apply(text))
    try:
        return passes(tree, mutation.tests)
    finally:
        path.write_text(text)


def passes(tree, tests):
    """Whether the tests pass in that tree.

    In a fork that has not imported perfgate yet, but all that it imports: starting Python for each
    name would take most of the time.
    """
    child = os.fork()
    if not child:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.chdir(tree)
        os.environ["PYTHONPATH"] = f"{tree / 'src'}:{tree}"
        sys.path[:0] = [str(tree / "src"), str(tree)]
        sys.dont_write_bytecode = True
        files = [f"tests/unit/test_{name}.py" for name in tests]
        # The suite's own plugins need not be loaded.
        options = ["-q", "-x", "-p", "no:cacheprovider", "--confcutdir=tests/unit"]
        os._exit(pytest.main([*options, *files]))
    return not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def work(share, tree):
    """Break one name after the other; the exit status is how many nobody noticed."""
    unnoticed = 0
    for done, mutation in enumerate(share, start=1):
        if survives(mutation, tree):
            unnoticed += 1
            say(f"nobody noticed: {mutation.name} in {mutation.file}")
        if done % 25 == 0:
            say(f"{done} of {len(share)}")
    os._exit(min(unnoticed, 255))


def main():
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="names that contain this")
    options = parser.parse_args()
    planned = list(mutations(options.only))
    with tempfile.TemporaryDirectory() as folder:
        trees = [copy_tree(Path(folder) / str(job)) for job in range(options.jobs)]
        everything = tuple(dict.fromkeys(name for one in planned for name in one.tests))
        if not passes(trees[0], everything):
            sys.exit("the tests fail without any mutation")
        children = []
        for job, tree in enumerate(trees):
            if not (child := os.fork()):
                work(planned[job :: options.jobs], tree)
            children.append(child)
        unnoticed = sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    say(f"{len(planned)} names broken one by one, {unnoticed} unnoticed")
    sys.exit(bool(unnoticed))


def say(line):
    """Tell it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
