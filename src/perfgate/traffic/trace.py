"""Recorded traces: JSON lines, each with when a request came and how long it was.

Field names are those in common use: Mooncake's (`timestamp` in milliseconds, `input_length`,
`output_length`), their aliases, and those of Azure's LLM inference traces (`TIMESTAMP` as ISO 8601,
`ContextTokens`, `GeneratedTokens`). Other fields, such as `hash_ids`, are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from perfgate.errors import UsageError

TIMES = ("timestamp", "created_time", "TIMESTAMP")
INPUTS = ("input_length", "input_tokens", "prompt_len", "ContextTokens")
OUTPUTS = ("output_length", "output_tokens", "output_len", "GeneratedTokens")


class TraceRow(NamedTuple):
    """One recorded request, `at_ns` after the first."""

    at_ns: int
    isl: int
    osl: int


def parse_trace(text: str, *, origin: str) -> tuple[TraceRow, ...]:
    """Read a trace's lines; empty ones are skipped.

    Raises UsageError naming the line, the field, its value and the rule it breaks.
    """
    rows = list(_rows(text.splitlines(), origin))
    for (_, before), (line, after) in pairwise(rows):
        if after.at_ns < before.at_ns:
            got = after.at_ns / 1e6
            raise UsageError(f"{origin}: line {line}: time", got, "lines must be in order of time")
    if len(rows) < 2 or rows[-1][1].at_ns == rows[0][1].at_ns:  # noqa: PLR2004 - a rate takes two
        rule = "a trace takes two requests at different times, to have a rate"
        raise UsageError(f"{origin}: requests", len(rows), rule)
    first_ns = rows[0][1].at_ns
    return tuple(row._replace(at_ns=row.at_ns - first_ns) for _, row in rows)


def requests_per_s(rows: Sequence[TraceRow]) -> float:
    """The mean rate of a trace: gaps over the time from first to last."""
    return (len(rows) - 1) * 1e9 / rows[-1].at_ns


def _rows(lines: Sequence[str], origin: str) -> Iterator[tuple[int, TraceRow]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _row(line, f"{origin}: line {number}")


def _row(line: str, where: str) -> TraceRow:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UsageError(where, line[:60], f"it must be JSON ({error})") from error
    if not isinstance(values, dict):
        raise UsageError(where, line[:60], "it must be an object, such as {...}")
    return TraceRow(
        _time_ns(*_field(values, TIMES, where), where),
        _tokens(*_field(values, INPUTS, where), where),
        _tokens(*_field(values, OUTPUTS, where), where),
    )


def _field(values: dict[str, Any], names: Sequence[str], where: str) -> tuple[str, object]:
    for name in names:
        if name in values:
            return name, values[name]
    raise UsageError(f"{where}: {names[0]}", None, f"one of {', '.join(names)} must be there")


def _time_ns(name: str, value: object, where: str) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value * 1e6)
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value[:26])  # Azure's have seven decimals, Python six
        except ValueError:
            pass
        else:
            return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1e6) * 1000
    raise UsageError(f"{where}: {name}", value, "it must be milliseconds or an ISO 8601 time")


def _tokens(name: str, value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where}: {name}", value, "it must be a whole number, 1 or more")
    return value
