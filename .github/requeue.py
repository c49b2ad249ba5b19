"""Say whether the performance gate is to be run again; standard library only.

Prints `again=true` or `again=false` and a reason, as lines of a GitHub Actions output file. A run
that could not tell (3 INCONCLUSIVE, 4 INVALID) gets one more attempt; a loss, an unstable server or
wrong usage would only be found a second time, and a second failure to tell needs a person.
"""

from __future__ import annotations

import argparse
from pathlib import Path

COULD_NOT_TELL = {3: "INCONCLUSIVE", 4: "INVALID"}
ATTEMPTS = 2


def decide(exit_code: int | None, attempt: int) -> tuple[bool, str]:
    """Whether to run again, and why; `exit_code` of `perfgate judge`, None if it never ran."""
    if exit_code is None:
        return False, "the job broke before anything was judged; see its log"
    if exit_code not in COULD_NOT_TELL:
        return False, f"exit code {exit_code} is an answer"
    verdict = COULD_NOT_TELL[exit_code]
    if attempt >= ATTEMPTS:
        return False, f"{verdict} again in attempt {attempt}: look at the report"
    return True, f"{verdict} in attempt {attempt}"


def read_exit_code(path: Path) -> int | None:
    """The number in the file; None if there is no file or no number in it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def main() -> None:
    """Read the arguments, print the decision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--exit-code-file", type=Path, required=True)
    options = parser.parse_args()
    again, reason = decide(read_exit_code(options.exit_code_file), options.attempt)
    print(f"again={str(again).lower()}\nreason={reason}")  # noqa: T201 - the output is the interface


if __name__ == "__main__":
    main()
