"""Writes what is generated here: the Grafana dashboard and the thresholds that its alerts use.

python -m dashboards.build            write the files
python -m dashboards.build --check    exit 1 if one is not what this would write
python -m dashboards.build --point fp8-b64-c64    watch another operating point
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.panels import dashboard
from perfgate import codec
from perfgate.errors import PerfGateError, UsageError
from perfgate.model import OperatingPoint
from perfgate.suite import load_suite

HERE = Path(__file__).parent
DASHBOARD = HERE / "grafana" / "dashboards" / "perfgate.json"
THRESHOLDS = HERE / "prometheus" / "rules" / "thresholds.yml"
WATCHED = "fp8-b192-c160"


def generated(point: OperatingPoint) -> dict[Path, str]:
    """The text of each generated file."""
    return {
        DASHBOARD: JSONEncoder(sort_keys=True, indent=2).encode(dashboard().build()) + "\n",
        THRESHOLDS: thresholds(point),
    }


def thresholds(point: OperatingPoint) -> str:
    """Floor, ceiling and concurrency of the point as constant series.

    Raises UsageError for a point that claims no floor and ceiling.
    """
    claim = point.claim
    if claim is None or claim.floor_tok_s is None or claim.ceiling_p95_s is None:
        raise UsageError("--point", point.id, "it must claim a floor and a ceiling in points.toml")
    values = {
        "perfgate:floor:tokens_per_second": claim.floor_tok_s,
        "perfgate:floor:concurrency": point.workload.concurrency,
        "perfgate:ceiling:p95_seconds": claim.ceiling_p95_s,
    }
    rules = "".join(
        f"      - record: {name}\n"
        f"        expr: vector({value:g})\n"
        f"        labels: {{point: {point.id}}}\n"
        for name, value in values.items()
    )
    return (
        "# Written by `python -m dashboards.build` from points.toml: change it there.\n"
        "groups:\n  - name: perfgate-thresholds\n    rules:\n" + rules
    )


def main(argv: list[str]) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.build")
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    parser.add_argument("--point", default=WATCHED, help="whose floor and ceiling alerts watch")
    options = parser.parse_args(argv)
    try:
        files = generated(load_suite(HERE.parent).point(options.point))
    except PerfGateError as error:
        parser.error(str(error))
    if options.check:
        stale = [path for path, text in files.items() if not _holds(path, text)]
        for path in stale:
            print(f"{path} is not up to date: run python -m dashboards.build")
        return 1 if stale else 0
    for path, text in files.items():
        codec.write_atomic(path, text.encode())
        print(path)
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
