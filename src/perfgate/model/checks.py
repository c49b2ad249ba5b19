"""Rules that several nouns share."""

from __future__ import annotations

import re

from perfgate.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def require_name(field_name: str, value: str) -> None:
    """Refuse a name that could not be a file name of one word: no separator, no leading dot."""
    if not _NAME.fullmatch(value):
        raise UsageError(
            field_name, value, "use a-z, 0-9, '.', '_', '-', starting with a letter or digit"
        )


def require_all_positive(value: object, *names: str) -> None:
    """Refuse a field of `value` that is set and is zero or less."""
    for name in names:
        number = getattr(value, name)
        if number is not None and not number > 0:
            raise UsageError(name, number, "it must be above 0")


def require_positive(field_name: str, value: int) -> None:
    """Refuse a count below one."""
    if value <= 0:
        raise UsageError(field_name, value, "it must be at least 1")
