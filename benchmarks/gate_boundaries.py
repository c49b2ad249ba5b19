"""Calibrate the paired gate's lines and store them beside the code that uses them.

python benchmarks/gate_boundaries.py            write src/perfgate/gate/boundaries.json
python benchmarks/gate_boundaries.py --check    exit 1 if the stored lines are not these
"""

import sys
from pathlib import Path

from perfgate import codec
from perfgate.gate.boundaries import STORED, Design, calibrate

FILE = Path(__file__).parents[1] / "src" / "perfgate" / "gate" / STORED


def main() -> int:
    """Recompute the lines; write them, or say whether they are the stored ones."""
    content = codec.to_pretty_json(calibrate(Design()))
    if "--check" in sys.argv[1:]:
        same = FILE.read_bytes() == content
        print(f"{FILE.name} {'is' if same else 'is NOT'} what its design gives")
        return 0 if same else 1
    codec.write_atomic(FILE, content)
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
