"""Which flags each tool knows in which version: a plan that uses another one is refused.

The tables are data in `flags.toml`, each with its source. Checking is pure: a tool, a version and
an argv in, nothing or a UsageError out.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

import msgspec
from packaging.version import InvalidVersion, Version

from perfgate.errors import MissingRequirementError, UsageError

SWITCH = "switch"
Values = str | list[str]


class Flag(msgspec.Struct, frozen=True):
    """One flag: the values it takes, and the versions that know it, inclusive."""

    values: Values
    since: str | None = None
    until: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """One tool: the versions of `package` that ship it, and its flags."""

    package: str
    first: str
    source: str
    flags: dict[str, Values | Flag]
    removed: list[str]
    last: str | None = None
    gone: str = ""


class Tables(msgspec.Struct, frozen=True):
    """All tools, and what each supported container holds."""

    tools: dict[str, Tool]
    containers: dict[str, dict[str, str]]


@functools.cache
def tables() -> Tables:
    """The tables that come with perfgate."""
    text = resources.files("perfgate.engines").joinpath("flags.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Tables)


def check_argv(name: str, version: str, arguments: Sequence[str]) -> None:
    """Refuse an argument that this version of the tool does not know, or a value it may not have.

    `arguments` are those after the program's own name, `--flag value` or `--flag=value`. Raises
    UsageError naming flag, value and version; MissingRequirementError if the version has no such
    tool.
    """
    require_tool(name, version)
    words = list(arguments)
    while words:
        flag, _, value = words.pop(0).partition("=")
        takes = _kind(name, version, flag)
        if takes != SWITCH and not value:
            if not words:
                raise UsageError(flag, "nothing", f"{name} {version} wants a value after it")
            value = words.pop(0)
        _check_value(name, version, flag, value, takes)


def check_keywords(name: str, version: str, keywords: Mapping[str, object]) -> None:
    """Refuse a keyword argument that this version does not know; nested ones are `outer.inner`."""
    require_tool(name, version)
    for keyword, value in flatten(keywords).items():
        takes = _kind(name, version, keyword)
        _check_value(name, version, keyword, value, takes)


def flatten(keywords: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as one, with dots between the names."""
    flat: dict[str, object] = {}
    for key, value in keywords.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def require_tool(name: str, version: str) -> Tool:
    """The tool's table; MissingRequirementError if that version does not ship it."""
    tool = tables().tools[name]
    wanted = parse_version(version)
    if wanted < Version(tool.first):
        msg = f"{name}: {tool.package} {version} is older than {tool.first}, the first supported"
        raise MissingRequirementError(msg)
    if tool.last is not None and wanted > Version(tool.last):
        msg = f"{name} is not in {tool.package} {version}: {tool.gone}"
        raise MissingRequirementError(msg)
    return tool


def parse_version(text: str) -> Version:
    """A version in order with others, release candidates before their release."""
    try:
        return Version(text)
    except InvalidVersion as error:
        raise UsageError("version", text, "it must be a version such as 1.2.1") from error


def _kind(name: str, version: str, flag: str) -> Values:
    tool = require_tool(name, version)
    if flag in tool.removed:
        rule = f"{name} dropped it long before {version}; leave it out"
        raise UsageError(flag, "set", rule)
    entry = tool.flags.get(flag)
    if entry is None:
        raise UsageError(flag, "set", f"{name} {version} has no such flag ({tool.source})")
    if not isinstance(entry, Flag):
        return entry
    wanted = parse_version(version)
    if entry.since is not None and wanted < Version(entry.since):
        raise UsageError(flag, "set", f"{name} {version} has no such flag before {entry.since}")
    if entry.until is not None and wanted > Version(entry.until):
        raise UsageError(flag, "set", f"{name} {version} has no such flag after {entry.until}")
    return entry.values


def _check_value(name: str, version: str, flag: str, value: object, takes: Values) -> None:
    if isinstance(takes, list):
        if value not in takes:
            rule = f"{name} {version} takes one of {', '.join(takes)}"
            raise UsageError(flag, value, rule)
    elif not _FORMS[takes](str(value)):
        raise UsageError(flag, value, f"{name} {version} takes {_NAMES[takes]}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_FORMS: dict[str, Callable[[str], object]] = {
    "text": bool,
    "path": bool,
    "int": str.isdecimal,
    "number": _is_number,
    SWITCH: lambda text: text in {"", "True", "False"},
}
_NAMES = {
    "text": "a text",
    "path": "a path",
    "int": "a whole number",
    "number": "a number",
    SWITCH: "no value",
}
