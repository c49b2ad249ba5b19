"""Two points of the same run held against each other: no baseline, so no other day in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perfgate.gate import checks, wording
from perfgate.gate.metrics import THROUGHPUT, TPOT_P50, TTFT_P50, Metric
from perfgate.gate.verdicts import worst
from perfgate.model import (
    Comparison,
    ComparisonKind,
    Finding,
    Judgement,
    Measurement,
    Policy,
    Verdict,
    Workload,
    differing,
)


def judge_comparison(
    comparison: Comparison, measurements: Mapping[str, Measurement], policy: Policy
) -> Judgement:
    """Answer one question of points.toml; a point that was not measured makes it INVALID."""
    missing = [p for p in (comparison.point, comparison.against) if p not in measurements]
    if missing:
        return _judgement_without(comparison, missing)
    point, against = measurements[comparison.point], measurements[comparison.against]
    match comparison.kind:
        case ComparisonKind.SPEEDUP:
            judgement = judge_speedup(point, against, policy.fp8_speedup)
        case ComparisonKind.EQUAL_TPOT:
            judgement = judge_equal(point, against, TPOT_P50, policy.fmha_tpot_margin)
        case ComparisonKind.STARVED:
            judgement = judge_starved(point, against, policy)
    return replace(judgement, point=comparison.id)


def judge_speedup(fast: Measurement, slow: Measurement, at_least: float) -> Judgement:
    """REGRESSION unless `fast` reaches `at_least` times the throughput of `slow`."""
    return _judgement(fast, slow, _refusals(fast, slow) or (_speedup(fast, slow, at_least),))


def judge_equal(one: Measurement, other: Measurement, metric: Metric, margin: float) -> Judgement:
    """Whether `one` and `other` agree in `metric` within `margin`; says what TTFT gained, too.

    Slower is a REGRESSION. Faster is INVALID: where no difference is possible, the two runs differ
    in more than what is compared.
    """
    return _judgement(
        one,
        other,
        _refusals(one, other) or (_equal(one, other, metric, margin), _first_token(one, other)),
    )


def judge_starved(small_batch: Measurement, matched: Measurement, policy: Policy) -> Judgement:
    """Show that a max_batch_size under the concurrency starves the GPU while requests queue.

    Of C requests in flight at most B are in the batch, so (C - B) / C of the mean latency is
    waiting (Little's law), all of it before the first token.
    """
    return _judgement(
        small_batch,
        matched,
        _refusals(small_batch, matched)
        or (
            _capped(small_batch, matched, policy.throughput_margin),
            _queued(small_batch, policy.latency_margin),
        ),
    )


def _speedup(fast: Measurement, slow: Measurement, at_least: float) -> Finding:
    ratio = fast.throughput_tok_s / slow.throughput_tok_s
    reached = ratio >= at_least
    return Finding(
        check="speedup",
        metric="throughput_ratio",
        expected=at_least,
        got=ratio,
        verdict=Verdict.PASS if reached else Verdict.REGRESSION,
        message=f"{fast.point.id} has {ratio:.3f} times the throughput of {slow.point.id} "
        f"({_tok_s(fast)} over {_tok_s(slow)}), {wording.percent(ratio / at_least - 1)} "
        f"{'over' if reached else 'under'} the {at_least:g} expected.",
        advice="" if reached else "Look which of the two moved: their own verdicts say so.",
    )


def _equal(one: Measurement, other: Measurement, metric: Metric, margin: float) -> Finding:
    got, expected = metric.read(one), metric.read(other)
    if got is None or expected is None:
        return _too_short(one if got is None else other, metric)
    gain = metric.gain(got, expected)
    text = wording.beside(metric, got, expected, f"that of {other.point.id},")
    return Finding(
        check="equal",
        metric=metric.name,
        unit=metric.unit,
        expected=expected,
        got=got,
        margin=margin,
        verdict=_equal_verdict(gain, margin),
        message=f"{one.point.id}: {text}; they should agree within {wording.percent(margin)}.",
        advice="" if abs(gain) <= margin else "Check that the two engines differ in one flag only.",
    )


def _too_short(measurement: Measurement, metric: Metric) -> Finding:
    return Finding(
        check="equal",
        metric=metric.name,
        unit=metric.unit,
        verdict=Verdict.INCONCLUSIVE,
        message=f"{measurement.point.id}: {measurement.requests} requests of "
        f"{measurement.point.workload.osl} tokens hold no {metric.title}.",
        advice="Raise rounds, round_requests or osl of the point in points.toml.",
    )


def _capped(small_batch: Measurement, matched: Measurement, margin: float) -> Finding:
    got, expected = small_batch.throughput_tok_s, matched.throughput_tok_s
    capped = got <= expected * (1 - margin)
    text = wording.beside(THROUGHPUT, got, expected, f"that of {matched.point.id},")
    return Finding(
        check="capped",
        metric=THROUGHPUT.name,
        unit=THROUGHPUT.unit,
        expected=expected,
        got=got,
        margin=margin,
        verdict=Verdict.PASS if capped else Verdict.REGRESSION,
        message=f"{small_batch.point.id}: {text}; a loss over {wording.percent(margin)} is "
        "expected of its smaller batch.",
        advice="" if capped else f"{matched.point.id} has lost what its larger batch should gain.",
    )


def _queued(small_batch: Measurement, margin: float) -> Finding:
    point = small_batch.point
    batch, concurrency = point.engine.max_batch_size, point.workload.concurrency
    expected = (1 - batch / concurrency) * (1 - margin)
    share = small_batch.ttft_s.mean / small_batch.latency_s.mean
    queued = share >= expected
    return Finding(
        check="queued",
        metric="ttft_over_latency",
        expected=expected,
        got=share,
        margin=margin,
        verdict=Verdict.PASS if queued else Verdict.INVALID,
        message=f"{point.id}: {wording.percent(share)} of the mean latency pass before "
        f"the first token, at least {wording.percent(expected)} are expected with {batch} slots "
        f"for {concurrency} requests.",
        advice="" if queued else "The engine runs more at once than its max_batch_size: check it.",
    )


def _first_token(one: Measurement, other: Measurement) -> Finding:
    got, expected = one.ttft_s.p50, other.ttft_s.p50
    text = wording.beside(TTFT_P50, got, expected, f"that of {other.point.id},")
    return Finding(
        check="prefill",
        metric=TTFT_P50.name,
        unit=TTFT_P50.unit,
        expected=expected,
        got=got,
        verdict=Verdict.PASS,
        message=f"{one.point.id}: {text}; this may differ.",
    )


def _equal_verdict(gain: float, margin: float) -> Verdict:
    if gain < -margin:
        return Verdict.REGRESSION
    return Verdict.INVALID if gain > margin else Verdict.PASS


def _judgement(one: Measurement, other: Measurement, findings: checks.Findings) -> Judgement:
    return Judgement(
        point=f"{one.point.id}-vs-{other.point.id}",
        verdict=worst(finding.verdict for finding in findings),
        findings=findings,
        records=", ".join(filter(None, (one.records, other.records))),
    )


def _refusals(one: Measurement, other: Measurement) -> checks.Findings:
    return (*checks.vetoes(one), *checks.vetoes(other)) or _unlike(one, other)


def _unlike(one: Measurement, other: Measurement) -> checks.Findings:
    if one.point.workload != other.point.workload:
        return (
            Finding(
                check="same workload",
                verdict=Verdict.INVALID,
                message=f"{one.point.id} and {other.point.id} are not comparable: "
                f"{_load(one.point.workload)} against {_load(other.point.workload)}.",
                advice="Give both points the same load in points.toml.",
            ),
        )
    unlike = differing(one.fingerprint.identity, other.fingerprint.identity)
    if not unlike:
        return ()
    return (
        Finding(
            check="identity",
            verdict=Verdict.INVALID,
            message=f"{one.point.id} and {other.point.id} are not comparable: for the first "
            f"{'; '.join(unlike)}.",
            advice="Measure both on the same GPU, under the same driver and clocks.",
        ),
    )


def _judgement_without(comparison: Comparison, missing: list[str]) -> Judgement:
    finding = Finding(
        check="measured",
        verdict=Verdict.INVALID,
        message=f"{comparison.id}: cannot be answered, for {' and '.join(missing)} "
        "was not measured.",
        advice="Run the points together: pytest -m perf.",
    )
    return Judgement(point=comparison.id, verdict=Verdict.INVALID, findings=(finding,))


def _load(workload: Workload) -> str:
    return (
        f"concurrency {workload.concurrency}, ISL {workload.isl}, OSL {workload.osl}, "
        f"seed {workload.seed}"
    )


def _tok_s(measurement: Measurement) -> str:
    return wording.amount(measurement.throughput_tok_s, THROUGHPUT.unit)
