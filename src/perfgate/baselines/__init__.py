"""What each operating point is expected to reach, kept in files under review."""

from perfgate.baselines.ledger import accept, lower
from perfgate.baselines.record import empty, record
from perfgate.baselines.show import table
from perfgate.baselines.store import cells, files, find, find_cell, load, path_of, record_into, save
from perfgate.baselines.verify import broken, thin

__all__ = [
    "accept",
    "broken",
    "cells",
    "empty",
    "files",
    "find",
    "find_cell",
    "load",
    "lower",
    "path_of",
    "record",
    "record_into",
    "save",
    "table",
    "thin",
]
