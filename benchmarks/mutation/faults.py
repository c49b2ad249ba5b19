"""Ways in which a run can go wrong without anything being slower.

Each spoils what a sound run left behind, as the fault would; both arms suffer it alike, for it is
the host's, the client's or the suite's. None may be called a regression, and none may pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from perfgate.errors import PerfGateError, ServerError
from perfgate.gate import judge
from perfgate.measure.measure import measure
from perfgate.model import Cell, LoadRun, Policy, RequestRecord, RequestStatus, Verdict

Spoil = Callable[[LoadRun], LoadRun]


@dataclass(frozen=True)
class Fault:
    """One class: what it does to a run, or to what the baseline knows of the point."""

    name: str
    spoil: Spoil = lambda run: run
    cell: Callable[[Cell], Cell | None] = lambda cell: cell


def verdict_on(fault: Fault, run: LoadRun, cell: Cell) -> tuple[Verdict, str]:
    """What the gate says of the spoilt run, and the text of the fault for a paired job."""
    try:
        measurement = measure(fault.spoil(run), Policy())
    except PerfGateError as error:
        return Verdict.INVALID, str(error)
    judgement = judge(measurement, fault.cell(cell), Policy())
    vetoes = "; ".join(veto.message for veto in measurement.vetoes)
    return judgement.verdict, vetoes


def one(change: Callable[[RequestRecord], RequestRecord], *, of: int = 100) -> Spoil:
    """Change the `of`-th finished request of the window."""

    def spoil(run: LoadRun) -> LoadRun:
        done = [i for i, record in enumerate(run.records) if _inside(run, record)]
        records = list(run.records)
        records[done[of]] = change(records[done[of]])
        return replace(run, records=tuple(records))

    return spoil


def every(change: Callable[[RequestRecord], RequestRecord], *, nth: int = 1) -> Spoil:
    """Change every n-th request."""
    return lambda run: replace(
        run,
        records=tuple(
            change(record) if i % nth == 0 else record for i, record in enumerate(run.records)
        ),
    )


def failed(status: RequestStatus, error: str) -> Callable[[RequestRecord], RequestRecord]:
    """A request that ended in an error half way."""

    def change(record: RequestRecord) -> RequestRecord:
        half = len(record.arrivals_ns) // 2
        return replace(
            record,
            status=status,
            error=error,
            arrivals_ns=record.arrivals_ns[:half],
            tokens=record.tokens[:half],
        )

    return change


def truncated(record: RequestRecord) -> RequestRecord:
    """The last message never came, though the end did."""
    return replace(record, arrivals_ns=record.arrivals_ns[:-1], tokens=record.tokens[:-1])


def doubled(record: RequestRecord) -> RequestRecord:
    """One message came twice."""
    return replace(
        record,
        arrivals_ns=(*record.arrivals_ns, record.arrivals_ns[-1]),
        tokens=(*record.tokens, 1),
    )


def idle(record: RequestRecord) -> RequestRecord:
    """The client waited a second before it sent, and did not say so."""
    later = min(record.sent_ns + 1_000_000_000, record.finished_ns)
    return replace(record, due_ns=later, sent_ns=later)


def silent(record: RequestRecord) -> RequestRecord:
    """The server answered without a token."""
    return replace(record, arrivals_ns=(), tokens=())


def server_counts(change: int) -> Spoil:
    """The server counted other tokens than the client: lost ones, or somebody else's."""

    def spoil(run: LoadRun) -> LoadRun:
        series = "nv_llm_output_token_len_sum{model=x}"
        own = sum(record.output_tokens for record in run.records)
        return replace(run, server_before={series: 0.0}, server_after={series: own + change})

    return spoil


def late_simulator(run: LoadRun) -> LoadRun:
    """The simulated engine got too little of the CPU."""
    names = ("perfgate_sim_busy_seconds_total", "perfgate_sim_late_seconds_total")
    return replace(
        run,
        server_before=dict.fromkeys(names, 0.0),
        server_after=dict(zip(names, (100.0, 9.0), strict=True)),
    )


def client(**changes: Any) -> Spoil:
    """The load client failed in this way."""

    def spoil(run: LoadRun) -> LoadRun:
        assert run.audit is not None, "every run of ours audits its client"
        return replace(run, audit=replace(run.audit, **changes))

    return spoil


def broke(*faults: str, rounds: int | None = None) -> Spoil:
    """Something broke down; the load may have ended before its time."""

    def spoil(run: LoadRun) -> LoadRun:
        marks = run.marks_ns if rounds is None else run.marks_ns[: rounds + 1]
        return replace(run, faults=faults, marks_ns=marks)

    return spoil


def lost_spool(run: LoadRun) -> LoadRun:
    """The disk was full: every third record was never written."""
    return replace(run, records=tuple(r for i, r in enumerate(run.records) if i % 3))


def warming(run: LoadRun) -> LoadRun:
    """The second half of the window was stretched: the server got slower while it was measured."""
    middle = (run.marks_ns[0] + run.marks_ns[-1]) // 2

    def stretched(time_ns: int) -> int:
        return time_ns if time_ns <= middle else middle + round((time_ns - middle) * 1.25)

    records = tuple(
        replace(
            record,
            due_ns=stretched(record.due_ns),
            sent_ns=stretched(record.sent_ns),
            finished_ns=stretched(record.finished_ns),
            arrivals_ns=tuple(map(stretched, record.arrivals_ns)),
        )
        for record in run.records
    )
    return replace(run, records=records, marks_ns=tuple(map(stretched, run.marks_ns)))


def dead_server(_run: LoadRun) -> LoadRun:
    """The server never came up."""
    raise ServerError("Triton was not ready within 120 s")


FAULTS = (
    Fault("no server", dead_server),
    Fault("out of memory at one request", one(failed(RequestStatus.ERROR, "out of memory"))),
    Fault("one connection reset", one(failed(RequestStatus.ERROR, "connection reset"))),
    Fault("one hung stream", one(failed(RequestStatus.DEADLINE, "no token for 60 s"))),
    Fault("every tenth request fails", every(failed(RequestStatus.ERROR, "x"), nth=10)),
    Fault("every request fails", every(failed(RequestStatus.ERROR, "model not found"))),
    Fault("answers without tokens", every(silent)),
    Fault("one truncated answer", one(truncated)),
    Fault("one doubled message", one(doubled)),
    Fault("another model: all answers shorter", every(truncated)),
    Fault("one prompt of another length", one(lambda record: replace(record, input_tokens=9))),
    Fault("another tokenizer", every(lambda record: replace(record, input_tokens=131))),
    Fault("client starved of CPU", client(cpu_s=18.0)),
    Fault("client woken late", client(lag_p99_s=0.05)),
    Fault("client sends late", client(late_sends=200)),
    Fault("clients idle between requests", every(idle)),
    Fault("tokens lost on the way", server_counts(+30_000)),
    Fault("counter of another server", server_counts(-30_000)),
    Fault("simulator starved of CPU", late_simulator),
    Fault("server gone after the load", broke("the server was gone after the load")),
    Fault("killed for memory in mid-run", broke("a load worker died: signal 9", rounds=3)),
    Fault("load cut short", broke(rounds=2)),
    Fault("load ended in its ramp", broke(rounds=0)),
    Fault("disk full: records lost", lost_spool),
    Fault("slower and slower while measured", warming),
    Fault("no record at all", lambda run: replace(run, records=())),
    Fault("stale baseline: another load", cell=lambda cell: replace(cell, identity={"isl": "9"})),
    Fault("renamed cell", cell=lambda _cell: None),
    Fault(
        "empty cell",
        cell=lambda cell: replace(cell, floor_tok_s=None, ceiling_p95_s=None, samples=()),
    ),
)


def _inside(run: LoadRun, record: RequestRecord) -> bool:
    return run.marks_ns[0] < record.finished_ns <= run.marks_ns[-1]
