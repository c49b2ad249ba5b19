"""One run, one file: what a load left behind, so that it can be measured and judged again.

`<point-id>.jsonl.gz` is gzipped JSON, one value a line:

    header   {"schema_version": 3, "run": {everything of a LoadRun but its records}}
    request  {"index": 0, "client": 0, "due_ns": ..., ...}, one line each
    footer   {"records": <number of requests>, "sha256": <of all bytes before this line>}

Times of a request are written as differences, which are short: `due_ns` as it is, `sent_ns` and
`finished_ns` counted from `due_ns`, each of `arrivals_ns` from the one before, the first from
`due_ns`. A metric that Triton exports as NaN, Prometheus' word for no value, is left out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

from perfgate import codec
from perfgate.errors import RecordsError
from perfgate.model import LoadRun, RequestRecord

# History: 1 - header, requests, footer; 2 - telemetry in the header, which can veto a run, so that
# a reader that does not know it must not judge without it; 3 - a claim names its hardware;
# 4 - loads other than closed loops of equal requests, which an older reader would take for such.
SCHEMA_VERSION = 4
READABLE = (1, 2, 3, 4)
_CLAIM_NAMES_HARDWARE = 3
SUFFIX = ".jsonl.gz"

_COMPRESSION = 3  # a quarter of level 9's time for a tenth more bytes


class _Header(msgspec.Struct, frozen=True):
    schema_version: int
    run: LoadRun


class _Footer(msgspec.Struct, frozen=True):
    records: int
    sha256: str


def write_run(folder: Path, run: LoadRun) -> Path:
    """Store `run` under its point's name in `folder`, whole or not at all; return the file."""
    lines = [codec.to_json(_Header(SCHEMA_VERSION, _storable(run)))]
    lines += [codec.to_json(_shorten(record)) for record in run.records]
    body = b"".join(line + b"\n" for line in lines)
    footer = _Footer(len(run.records), hashlib.sha256(body).hexdigest())
    path = folder / f"{run.point.id}{SUFFIX}"
    # No time stamp inside: equal runs make equal files.
    data = gzip.compress(body + codec.to_json(footer) + b"\n", _COMPRESSION, mtime=0)
    codec.write_atomic(path, data)
    return path


def read_run(path: Path) -> LoadRun:
    """Read a stored run back, exactly as it was.

    Raises RecordsError if the file is missing, cut short, altered or of another version.
    """
    header, *requests, footer = _whole_lines(path)
    run = _read_header(header, path)
    _check_footer(footer, header, requests, path)
    decoder = msgspec.json.Decoder(RequestRecord)
    try:
        records = tuple(_lengthen(decoder.decode(line)) for line in requests)
    except msgspec.MsgspecError as error:
        msg = f"{path}: a request does not follow the form of version {SCHEMA_VERSION}: {error}"
        raise RecordsError(msg) from error
    return replace(run, records=records)


def _storable(run: LoadRun) -> LoadRun:
    return replace(
        run,
        records=(),
        server_before=_numbers(run.server_before),
        server_after=_numbers(run.server_after),
    )


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _shorten(record: RequestRecord) -> RequestRecord:
    return replace(
        record,
        sent_ns=record.sent_ns - record.due_ns,
        finished_ns=record.finished_ns - record.due_ns,
        arrivals_ns=tuple(
            later - earlier for earlier, later in pairwise((record.due_ns, *record.arrivals_ns))
        ),
    )


def _lengthen(record: RequestRecord) -> RequestRecord:
    return replace(
        record,
        sent_ns=record.due_ns + record.sent_ns,
        finished_ns=record.due_ns + record.finished_ns,
        arrivals_ns=tuple(accumulate(record.arrivals_ns, initial=record.due_ns))[1:],
    )


def _whole_lines(path: Path) -> list[bytes]:
    try:
        lines = gzip.decompress(path.read_bytes()).split(b"\n")
    except FileNotFoundError as error:
        msg = f"{path}: no such file; the run was not stored or lies elsewhere"
        raise RecordsError(msg) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path}: cut short or damaged ({error}); restore the file or measure again"
        raise RecordsError(msg) from error
    if len(lines) < 3 or lines.pop() != b"":  # noqa: PLR2004 - header, footer, final newline
        msg = f"{path}: header or footer is missing; restore the file or measure again"
        raise RecordsError(msg)
    return lines


def _read_header(line: bytes, path: Path) -> LoadRun:
    class Version(msgspec.Struct):
        schema_version: int

    version = codec.from_json(line, Version, origin=str(path)).schema_version
    if version not in READABLE:
        advice = "update perfgate" if version > SCHEMA_VERSION else "measure again"
        known = " and ".join(map(str, READABLE))
        msg = f"{path}: stored as version {version}, this perfgate reads {known}: {advice}"
        raise RecordsError(msg)
    if version < _CLAIM_NAMES_HARDWARE:
        line = _without_claim(line)
    return codec.from_json(line, _Header, origin=str(path)).run


def _without_claim(line: bytes) -> bytes:
    """The header of an older version; its claim does not say where it holds, so nowhere."""
    header = json.loads(line)
    header["run"]["point"]["claim"] = None
    return json.dumps(header).encode()


def _check_footer(line: bytes, header: bytes, requests: list[bytes], path: Path) -> None:
    footer = codec.from_json(line, _Footer, origin=str(path))
    if footer.records != len(requests):
        msg = f"{path}: holds {len(requests)} requests, its footer says {footer.records}"
        raise RecordsError(msg)
    digest = hashlib.sha256()
    for part in (header, *requests):
        digest.update(part + b"\n")
    if digest.hexdigest() != footer.sha256:
        msg = f"{path}: its content is not what was written (SHA-256 differs); restore the file"
        raise RecordsError(msg)
