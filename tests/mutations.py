"""Break each flag, tensor and parameter name once, and see that some unit test notices.

    python tests/mutations.py [--jobs 2] [--only NAME]

Works on copies; the tree itself is not touched. Prints every name whose loss nobody noticed and
ends with status 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("src", "tests", "fixtures", "hardware", "docs", "baselines")
FILES = ("conftest.py", "pyproject.toml", "points.toml", "policy.toml", "trtllm.toml")
TYPES = {"INT32", "INT64", "UINT64", "FP32", "BOOL", "STRING"}
FLAG = re.compile(r'"(--[a-z][a-z0-9_-]+)')
NAME = re.compile(r'"([A-Za-z_]{2,})"')
FIELD = re.compile(r'"(?:\{_[A-Z]+\}\.)?([A-Za-z0-9_.]{2,})"')
KEY = re.compile(r'"([A-Za-z_]{2,})":')

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
    ("engines/inspect.py", FIELD, ("engines_inspect", "hardware_path")),
    ("engines/llmapi.py", FIELD, ("hardware_path",)),
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
    """Whether the tests pass in that tree."""
    files = [f"tests/unit/test_{name}.py" for name in tests]
    # The suite's own plugins need not be loaded: that halves the time.
    options = ["-q", "-x", "-p", "no:cacheprovider", "--confcutdir=tests/unit"]
    return not subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree / 'src'}:{tree}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    ).returncode


def main():
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="names that contain this")
    options = parser.parse_args()
    planned = list(mutations(options.only))
    with tempfile.TemporaryDirectory() as folder:
        trees = queue.SimpleQueue()
        for job in range(options.jobs):
            trees.put(copy_tree(Path(folder) / str(job)))
        unbroken = trees.get()
        everything = tuple(dict.fromkeys(name for _, _, tests in TARGETS for name in tests))
        if not passes(unbroken, everything):
            sys.exit("the tests fail without any mutation")
        trees.put(unbroken)

        def one(mutation):
            tree = trees.get()
            try:
                unnoticed = survives(mutation, tree)
            finally:
                trees.put(tree)
            if unnoticed:
                say(f"nobody noticed: {mutation.name} in {mutation.file}")
            return unnoticed

        with ThreadPoolExecutor(options.jobs) as pool:
            unnoticed = 0
            for done, survived in enumerate(pool.map(one, planned), start=1):
                unnoticed += survived
                if done % 50 == 0:
                    say(f"{done} of {len(planned)}")
    say(f"{len(planned)} names broken one by one, {unnoticed} unnoticed")
    sys.exit(bool(unnoticed))


def say(line):
    """Tell it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
