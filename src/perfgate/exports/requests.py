"""The records as a table, one row a request: CSV for spreadsheets, Parquet for data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from perfgate.errors import MissingRequirementError
from perfgate.measure.metrics import first_token_s, latency_s, time_per_token_s
from perfgate.model import LoadRun, RequestRecord

COLUMNS = {
    "point": "string",
    "hardware": "string",
    "concurrency": "int32",
    "index": "int64",
    "client": "int32",
    "status": "string",
    "in_window": "bool",
    "due_ns": "int64",
    "sent_ns": "int64",
    "finished_ns": "int64",
    "input_tokens": "int32",
    "output_tokens": "int32",
    "expected_output_tokens": "int32",
    "ttft_s": "float64",
    "tpot_s": "float64",
    "latency_s": "float64",
    "server_arrival_ns": "int64",
    "server_first_scheduled_ns": "int64",
    "server_first_token_ns": "int64",
    "server_last_token_ns": "int64",
    "error": "string",
}
"""Names and types; times ending in `_ns` are of a monotonic clock, the server's may be another."""


def requests_csv(runs: Iterable[LoadRun]) -> str:
    """Every request of every run, in order of ending; what is unknown is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        writer.writerows(_row(run, record) for record in run.records)
    return text.getvalue()


def requests_parquet(runs: Iterable[LoadRun]) -> bytes:
    """The same columns, and each request's token arrivals: `arrivals_ns` and `tokens`, as lists.

    Raises MissingRequirementError without pyarrow.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra that only this format needs
        from pyarrow import parquet  # noqa: PLC0415 - likewise
    except ImportError as error:
        msg = "Parquet needs pyarrow: pip install 'perfgate[parquet]'"
        raise MissingRequirementError(msg) from error
    lists = {"arrivals_ns": pa.list_(pa.int64()), "tokens": pa.list_(pa.int32())}
    fields = [(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()]
    schema = pa.schema([*fields, *lists.items()])
    out = pa.BufferOutputStream()
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:  # type: ignore[no-untyped-call]
        for run in runs:  # a row group a run: no more than one is in memory twice
            writer.write_table(pa.table(_columns(run), schema=schema))
    data: bytes = out.getvalue().to_pybytes()
    return data


def _columns(run: LoadRun) -> dict[str, list[Any]]:
    rows = [_row(run, record) for record in run.records]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    columns["arrivals_ns"] = [record.arrivals_ns for record in run.records]
    columns["tokens"] = [record.tokens for record in run.records]
    return columns


def _row(run: LoadRun, record: RequestRecord) -> tuple[Any, ...]:
    marks, answered = run.marks_ns, bool(record.arrivals_ns)
    several = answered and record.output_tokens > 1
    return (
        run.point.id,
        run.fingerprint.hardware,
        run.point.workload.concurrency,
        record.index,
        record.client,
        record.status.value,
        len(marks) > 1 and marks[0] < record.finished_ns <= marks[-1],
        record.due_ns,
        record.sent_ns,
        record.finished_ns,
        record.input_tokens,
        record.output_tokens,
        record.expected_output_tokens,
        first_token_s(record) if answered else None,
        time_per_token_s(record) if several else None,
        latency_s(record) if answered else None,
        *_server(record),
        record.error,
    )


def _server(record: RequestRecord) -> Iterator[int | None]:
    stamps = ("arrival_ns", "first_scheduled_ns", "first_token_ns", "last_token_ns")
    return (getattr(record.server, stamp) if record.server else None for stamp in stamps)
