"""Values to and from JSON and TOML, with errors that name the field, and atomic writes."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perfgate.errors import RecordsError, UsageError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")


def to_json(value: object) -> bytes:
    """Encode any value of the vocabulary; paths become strings. Ends without a newline."""
    return _encoder.encode(_plain(value))


def to_pretty_json(value: object) -> bytes:
    """Encode for people and for diffs: two-space indent, one final newline."""
    return msgspec.json.format(to_json(value), indent=2) + b"\n"


def from_json(data: bytes, kind: type[T], *, origin: str) -> T:
    """Decode JSON into `kind`; `origin` names the file in the error.

    Raises RecordsError if the text is not what `kind` says.
    """
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_path)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = (
            f"{origin}: {error}. The file is damaged or was written by another version of perfgate."
        )
        raise RecordsError(msg) from error


def from_versioned_json(
    data: bytes, kind: type[T], *, version: int, origin: str, if_older: str
) -> T:
    """Decode a stored file whose `schema_version` must be `version`.

    Raises RecordsError that says what to do: `if_older` for a file of an earlier version.
    """
    got = from_json(data, _Versioned, origin=origin).schema_version
    if got == version:
        return from_json(data, kind, origin=origin)
    cure = "Update perfgate" if got > version else if_older
    msg = f"{origin} has schema version {got}, this perfgate reads {version}. {cure}."
    raise RecordsError(msg)


class _Versioned(msgspec.Struct):
    schema_version: int


def from_toml(path: Path, kind: type[T]) -> T:
    """Decode a TOML file a person wrote into `kind`.

    Raises UsageError naming the file and the field if it is missing or breaks a rule.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError("file", str(path), "it must exist") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(str(path), str(error), "it must be valid TOML") from error
    return from_table(table, kind, origin=str(path))


def from_table(table: dict[str, Any], kind: type[T], *, origin: str) -> T:
    """Decode an already parsed table into `kind`; a key that `kind` lacks is an error.

    Raises UsageError naming `origin`, the field, its value and the rule it breaks.
    """
    try:
        value = msgspec.convert(table, type=kind, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise _usage_error(error, origin) from error
    for key in _unknown_keys(table, _plain(value)):
        raise UsageError(f"{origin}: {key}", "?", "no such field is known; is it misspelt?")
    return value


def _usage_error(error: msgspec.ValidationError, origin: str) -> UsageError:
    text, _, where = str(error).partition(" - at ")
    path = where.strip("`").removeprefix("$").removeprefix(".")
    if isinstance(error.__cause__, UsageError):
        cause = error.__cause__
        field = f"{path}.{cause.field}" if path else cause.field
        return UsageError(f"{origin}: {field}", cause.value, cause.rule)
    return UsageError(f"{origin}: {path or 'file'}", text, "it must follow the documented form")


def _unknown_keys(table: object, known: object, path: str = "") -> list[str]:
    """Paths in `table` that decoding dropped: `known` is the decoded value, encoded again."""
    if isinstance(table, dict) and isinstance(known, dict):
        return [
            found
            for key, value in table.items()
            for found in (
                _unknown_keys(value, known[key], f"{path}{key}.")
                if key in known
                else [f"{path}{key}"]
            )
        ]
    if isinstance(table, list) and isinstance(known, list):
        return [
            found
            for index, (one, other) in enumerate(zip(table, known, strict=True))
            for found in _unknown_keys(one, other, f"{path[:-1]}[{index}].")
        ]
    return []


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: readers never see half of it, a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _plain(value: object) -> object:
    return msgspec.to_builtins(value, enc_hook=_encode_path)


def _encode_path(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    msg = f"no JSON form for {type(value).__name__}"
    raise NotImplementedError(msg)


def _decode_path(kind: type, value: object) -> object:
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    msg = f"no value of {kind.__name__} in {value!r}"
    raise NotImplementedError(msg)
