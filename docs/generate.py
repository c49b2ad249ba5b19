"""Put the real output of perfgate's commands into the documentation.

    python docs/generate.py                    write what commands print without a server
    python docs/generate.py --check            write nothing; say what is stale, exit code 1
    python docs/generate.py --recorded FOLDER  also what commands print of runs that lie in FOLDER

A page holds the command, and between it and the end what it prints:

    <!-- output: perfgate simulate -->
    ...
    <!-- end -->

`recorded:` in place of `output:` marks a command that reads a run which took minutes on a server;
the paths it names are looked up in FOLDER.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from perfgate import cli

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
OUTPUT, RECORDED = "output", "recorded"
_SUITE = ("points.toml", "policy.toml", "trtllm.toml", "hardware", "baselines")
_BLOCK = re.compile(
    r"<!-- (?P<kind>output|recorded): (?P<command>perfgate [^\n]*?) -->\n.*?<!-- end -->", re.DOTALL
)


def main() -> int:
    """Write or check every page; the exit code is 1 if --check found a stale one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    parser.add_argument("--recorded", type=Path, help="the folder in which recorded runs lie")
    asked = parser.parse_args()
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        now = renewed(text, asked.recorded)
        if now == text:
            continue
        stale.append(page)
        if not asked.check:
            page.write_text(now, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'stale' if asked.check else 'written'}")
    return int(asked.check and bool(stale))


def renewed(text: str, recorded: Path | None = None) -> str:
    """The page with the output of its commands as it is now."""

    def block(match: re.Match[str]) -> str:
        kind, command = match["kind"], match["command"]
        if kind == RECORDED and recorded is None:
            return match[0]
        return f"<!-- {kind}: {command} -->\n```\n{printed(command, recorded)}```\n<!-- end -->"

    return _BLOCK.sub(block, text)


def printed(command: str, recorded: Path | None = None) -> str:
    """What a command prints, run in a copy of the suite where recorded runs lie too."""
    _, *words = shlex.split(command)
    with tempfile.TemporaryDirectory(prefix="perfgate-docs-") as name, _inside(Path(name)):
        for part in _SUITE:
            _copy(ROOT / part, Path(name) / part)
        for run in recorded.iterdir() if recorded else ():
            if run.is_dir():
                _copy(run, Path(name) / run.name)
        out = io.StringIO()
        sys.argv = ["perfgate", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as told:
            try:
                cli.main()
            except SystemExit as ended:
                if ended.code:
                    sys.exit(f"{command}: exit code {ended.code}\n{told.getvalue()}")
    return out.getvalue()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, words = Path.cwd(), sys.argv
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = words


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
