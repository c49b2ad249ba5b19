"""From offered rates to the highest one that holds, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from perfgate.measure.bands import mean_band
from perfgate.measure.steady_validity import is_backlog
from perfgate.model import Measurement, OperatingPoint
from perfgate.report import numbers
from perfgate.report.content import Axis, Curve, CurvePoint
from perfgate.sweep.content import EngineSweep, RateResult, RateRow, Taken

_BANDS = (
    "Bands are 95 % intervals inside one boot: of throughput over the rounds, of P95 over the "
    "requests. Arrivals are drawn, so that another seed gives other ones. Latency counts from when "
    "a request was due."
)


def rate_result(sweep: EngineSweep) -> RateResult | None:
    """What the telling measurements say; None where there is none."""
    found = {rate: one for one in telling(sweep) if (rate := one.requests_per_s) is not None}
    if not found:
        return None
    ceiling_s = sweep.point.claim.ceiling_p95_s if sweep.point.claim else None
    rows = tuple(_row(rate, found[rate], ceiling_s) for rate in sorted(found))
    first_bad = next((row for row in rows if not row.held), None)
    good = rows[: rows.index(first_bad)] if first_bad else rows
    return RateResult(
        rows=rows,
        highest=good[-1].requests_per_s if good else None,
        sentence=_sentence(good, first_bad, ceiling_s),
        bands=_BANDS,
    )


def telling(sweep: EngineSweep) -> tuple[Taken, ...]:
    """The measurements that say something of their rate: sound ones, and those of a backlog."""
    return tuple(one for one in sweep.taken if held(one.measurement, None) is not None)


def held(found: Measurement, ceiling_s: float | None) -> bool | None:
    """Whether the server kept up with a rate, with P95 under the ceiling where there is one.

    None where the measurement is not sound, for another reason than that it did not keep up.
    """
    if found.vetoes:
        return False if is_backlog(found.vetoes) else None
    p95 = found.latency_s.p95
    return ceiling_s is None or (p95 is not None and p95 <= ceiling_s)


def rate_curve(point: OperatingPoint, rows: Sequence[RateRow]) -> Curve:
    """The curve that is drawn of a result's rows; a server that fell behind has no latency."""
    return Curve(
        engine=point.engine.name,
        axis=Axis.RATE,
        points=tuple(
            CurvePoint(
                row.requests_per_s,
                row.throughput_tok_s,
                None if row.behind else row.latency_p95_s,
                row.throughput_band,
                None if row.behind else row.latency_p95_band,
            )
            for row in rows
        ),
        ceiling_p95_s=point.claim.ceiling_p95_s if point.claim else None,
    )


def _row(rate: float, one: Taken, ceiling_s: float | None) -> RateRow:
    found = one.measurement
    use = found.resources
    return RateRow(
        requests_per_s=rate,
        answered_per_s=found.request_rate_s,
        throughput_tok_s=found.throughput_tok_s,
        throughput_band=mean_band(found.round_tok_s),
        latency_p50_s=found.latency_s.p50,
        latency_p95_s=found.latency_s.p95,
        latency_p95_band=one.p95_band,
        ttft_p50_s=found.ttft_s.p50,
        ttft_p95_s=found.ttft_s.p95,
        in_flight_mean=found.mean_in_flight,
        waiting_mean=use.waiting_mean if use else None,
        kv_cache_peak=use.kv_cache_peak if use else None,
        behind=is_backlog(found.vetoes),
        held=bool(held(found, ceiling_s)),
    )


def _sentence(good: Sequence[RateRow], bad: RateRow | None, ceiling_s: float | None) -> str:
    under = "the server keeps up" if ceiling_s is None else f"P95 stays under {ceiling_s:g} s"
    if not good:
        return f"No rate that was offered holds: {_fails(bad)}." if bad else ""
    best = good[-1]
    head = (
        f"Up to {best.requests_per_s:g} requests/s ({numbers.tok_s(best.throughput_tok_s)} tok/s)"
        f" {under}"
    )
    if bad is None:
        return f"{head}; no higher rate was offered."
    return f"{head}; {_fails(bad)}."


def _fails(bad: RateRow) -> str:
    at = f"at {bad.requests_per_s:g} requests/s"
    if bad.behind:
        return f"{at} the server does not keep up and requests wait ever longer"
    if bad.latency_p95_s is None:
        return f"{at} the requests are too few for a P95"
    return f"{at} P95 is {numbers.duration(bad.latency_p95_s)}"
