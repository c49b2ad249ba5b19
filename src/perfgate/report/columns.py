"""Columns of text for a fixed-width font."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table's lines: the first and the last column to the left, those between to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    last = len(widths) - 1
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if index in (0, last) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
