"""A load as a person writes it in points.toml, and the trace files that it names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from perfgate.errors import UsageError
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthClass,
    Sessions,
    SharedPrefix,
    Trace,
    Workload,
)
from perfgate.traffic.trace import TraceRow, parse_trace, requests_per_s

_LENGTHS = ("isl", "osl")


class ArrivalsForm(msgspec.Struct, frozen=True, kw_only=True):
    """When requests arrive; a replay's rate is the recorded one unless another is given."""

    process: ArrivalProcess
    requests_per_s: float | None = None
    burst: int = 1
    trace: str | None = None


class PartForm(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a mix."""

    name: str
    share: float
    isl: int | Length
    osl: int | Length


class WorkloadForm(msgspec.Struct, frozen=True, kw_only=True):
    """The load's part of a point; lengths come from `isl` and `osl`, `mix`, or a trace."""

    concurrency: int
    isl: int | Length | None = None
    osl: int | Length | None = None
    arrivals: ArrivalsForm | None = None
    mix: tuple[PartForm, ...] = ()
    sessions: Sessions | None = None
    prefix: SharedPrefix | None = None


def merge_lengths(defaults: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Lay a point's table over the defaults, whose lengths give way to a mix or a trace."""
    arrivals = table.get("arrivals")
    replayed = isinstance(arrivals, dict) and "trace" in arrivals
    hidden = _LENGTHS if "mix" in table or replayed else ()
    return {name: value for name, value in defaults.items() if name not in hidden} | table


def workload_of(form: WorkloadForm, *, seed: int, root: Path) -> Workload:
    """Make the load that a form asks for; a trace is read from within the folder `root`.

    Raises UsageError naming the field, its value and the rule it breaks.
    """
    arrivals, rows = _arrivals(form.arrivals, root)
    mix = _mix(form)
    if rows:
        _refuse_lengths(form, "a replay takes its lengths from the trace")
        isl, osl = max(row.isl for row in rows), max(row.osl for row in rows)
    elif mix:
        isl, osl = max(part.isl.most for part in mix), max(part.osl.most for part in mix)
    else:
        isl, osl = _fixed("isl", form.isl), _fixed("osl", form.osl)
    return Workload(
        concurrency=form.concurrency,
        isl=isl,
        osl=osl,
        seed=seed,
        arrivals=arrivals,
        mix=mix,
        sessions=form.sessions,
        prefix=form.prefix,
    )


def trace_rows(load: Workload, root: Path) -> tuple[TraceRow, ...]:
    """The rows of the load's trace, none if it has no trace.

    Raises UsageError if the file is not the one that the load was made with.
    """
    if load.trace is None:
        return ()
    text = _read(load.trace.path, root)
    if _digest(text) != load.trace.sha256:
        raise UsageError("trace", load.trace.path, "it has changed since points.toml was read")
    return parse_trace(text, origin=load.trace.path)


def _arrivals(
    form: ArrivalsForm | None, root: Path
) -> tuple[Arrivals | None, tuple[TraceRow, ...]]:
    if form is None:
        return None, ()
    trace: Trace | None = None
    rows: tuple[TraceRow, ...] = ()
    rate = form.requests_per_s
    if form.trace is not None:
        text = _read(form.trace, root)
        rows = parse_trace(text, origin=form.trace)
        trace = Trace(
            path=form.trace,
            sha256=_digest(text),
            requests=len(rows),
            requests_per_s=requests_per_s(rows),
            most_tokens=max(row.isl + row.osl for row in rows),
        )
        rate = trace.requests_per_s if rate is None else rate
    if rate is None:
        raise UsageError("arrivals.requests_per_s", None, "all but a replay need a rate")
    arrivals = Arrivals(process=form.process, requests_per_s=rate, burst=form.burst, trace=trace)
    return arrivals, rows


def _mix(form: WorkloadForm) -> tuple[LengthClass, ...]:
    if form.mix:
        _refuse_lengths(form, "the parts of the mix have lengths of their own")
        return tuple(
            LengthClass(
                name=part.name, share=part.share, isl=_length(part.isl), osl=_length(part.osl)
            )
            for part in form.mix
        )
    if isinstance(form.isl, Length) or isinstance(form.osl, Length):
        lengths = [_length(_given(name, getattr(form, name))) for name in _LENGTHS]
        return (LengthClass(name="all", share=1.0, isl=lengths[0], osl=lengths[1]),)
    return ()


def _length(value: int | Length) -> Length:
    return value if isinstance(value, Length) else Length(least=value, most=value)


def _fixed(name: str, value: int | Length | None) -> int:
    given = _given(name, value)
    return given.most if isinstance(given, Length) else given


def _given(name: str, value: int | Length | None) -> int | Length:
    if value is None:
        raise UsageError(name, value, "a point needs isl and osl, a mix, or a trace to replay")
    return value


def _refuse_lengths(form: WorkloadForm, rule: str) -> None:
    for name in _LENGTHS:
        if getattr(form, name) is not None:
            raise UsageError(name, _told(getattr(form, name)), rule)


def _told(value: int | Length) -> int | str:
    return value.label if isinstance(value, Length) else value


def _read(path: str, root: Path) -> str:
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise UsageError("arrivals.trace", path, "it must lie in the suite's folder")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("arrivals.trace", path, f"it must be a text file ({error})") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
