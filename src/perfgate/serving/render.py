"""The model repository as this perfgate writes it, or as another one does, from its source tree.

What a change of the repository's own templates costs only shows if the base is served from the
templates of its day. They are code, so they are run, by a Python that sees that source tree first:

    python -m perfgate.serving.render < order.json
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from perfgate import codec
from perfgate.errors import ServerError
from perfgate.model import Engine, ServingSpec
from perfgate.serving.repository import write_repository

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that a repository is made of; the fields are those of `write_repository`."""

    root: Path
    engine: Engine
    serving: ServingSpec
    tokenizer_dir: Path
    tensorrt_llm: str = ""


def render(order: Order, sources: Path | None = None) -> Path:
    """Write the repository, by the perfgate in `sources` if that is given; return its path.

    Raises ServerError with what that perfgate said if it cannot.
    """
    if sources is None:
        return _write(order)
    done = subprocess.run(
        [sys.executable, "-m", "perfgate.serving.render"],
        input=codec.to_json(order),
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        msg = f"the perfgate in {sources} cannot write the model repository of a pair: {said}"
        raise ServerError(msg)
    return Path(done.stdout.decode().strip())


def _write(order: Order) -> Path:
    return write_repository(
        order.root,
        order.engine,
        order.serving,
        order.tokenizer_dir,
        tensorrt_llm=order.tensorrt_llm,
    )


if __name__ == "__main__":
    sys.stdout.write(str(_write(codec.from_json(sys.stdin.buffer.read(), Order, origin="stdin"))))
