"""What can go wrong, each with its own name.

PerfGateError                 anything perfgate raises on purpose
├── UsageError                the user's input breaks a rule: field, value and rule are named
├── MissingRequirementError   this machine lacks something the chosen target needs
├── BuildError                an engine could not be built, or is not what was asked for
├── ServerError               Triton did not start, was not ready in time, or died
├── LoadError                 the load client could not do its work
├── RecordsError              stored records cannot be read or are not whole
├── NoSamplesError            a number was asked of too few samples to hold it
└── BaselineError             a baseline is missing, stale, edited by hand or of another kind

A slower server is none of these: that is a verdict, not an error.
"""

from __future__ import annotations


class PerfGateError(Exception):
    """Anything perfgate raises on purpose; its text is written for the user."""


class UsageError(PerfGateError, ValueError):
    """The user's input breaks a rule.

    It is a ValueError too, so that a decoder can add where in the file the value stood.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        super().__init__(f"{field}: got {value!r}, but {rule}")

    def __reduce__(self) -> tuple[type[UsageError], tuple[str, object, str]]:
        """Carry all three parts across processes, not only the text."""
        return type(self), (self.field, self.value, self.rule)


class MissingRequirementError(PerfGateError):
    """This machine lacks something the chosen target needs."""


class BuildError(PerfGateError):
    """An engine could not be built, or is not what was asked for."""


class ServerError(PerfGateError):
    """Triton did not start, was not ready in time, or died."""


class LoadError(PerfGateError):
    """The load client could not do its work."""


class RecordsError(PerfGateError):
    """Stored records cannot be read or are not whole."""


class NoSamplesError(PerfGateError):
    """A number was asked of too few samples to hold it."""


class BaselineError(PerfGateError):
    """A baseline is missing, stale, edited by hand or of another kind."""
