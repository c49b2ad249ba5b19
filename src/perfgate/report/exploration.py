"""An exploration in words and tables: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from perfgate.explore.findings import Confirmed, Exploration, Sweep
from perfgate.explore.limits import Decomposition, Limit, StepParts
from perfgate.explore.trials import Effect, Outcome, Trial
from perfgate.model import BatchingStrategy
from perfgate.report import numbers
from perfgate.report.exploration_chart import described, exploration_chart
from perfgate.report.plots import NARROW
from perfgate.report.sentences import SIMULATED_NOTE, hardware_label

_SETTINGS = (
    *("precision", "concurrency", "max_batch_size", "max_num_tokens", "tokens_per_block"),
    *("chunked_context", "scheduler_policy", "batching", "kv_cache_tokens"),
)
_REACHED = ("tok/s", "P50", "P95")
_PARTS = (
    ("weights_s", "weights"),
    ("loss_s", "FP8 loss"),
    ("compute_s", "compute"),
    ("kv_s", "KV cache"),
    ("attention_s", "attention"),
    ("overhead_s", "overhead"),
)
_MOST_FRONT = 15
_NO_CHANGE = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table under a title, with what must be said to read it; its first column is words."""

    title: str
    said: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def exploration_text(found: Exploration) -> str:
    """The exploration as plain text, ending with a newline."""
    return "\n".join(_lines(found)) + "\n"


def render_exploration(found: Exploration) -> str:
    """The exploration as the text of `explore.html`, which loads nothing."""
    environment = Environment(
        loader=PackageLoader("perfgate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("explore.html.j2").render(
        hardware=hardware_label(found.run),
        info=found.run,
        simulated_note=SIMULATED_NOTE,
        headline=headline(found),
        spent=spent(found),
        chart=(exploration_chart(found), exploration_chart(found, width=NARROW)),
        described=described(found),
        sections=sections(found),
    )


def headline(found: Exploration) -> str:
    """What was found, in one sentence."""
    ceiling = numbers.duration(found.goal.ceiling_p95_s)
    best, start = found.best_outcome, found.start_outcome
    if best is None:
        return f"No setting that was tried holds the ceiling of {ceiling}"
    reached = f"{numbers.tok_s(best.throughput_tok_s)} tok/s under a P95 of {ceiling}"
    if start is None:
        return reached
    gain = best.throughput_tok_s / start.throughput_tok_s - 1
    return f"{reached}, {numbers.change(gain)} against {found.start.id} as it is"


def spent(found: Exploration) -> str:
    """The budget, as it was given and as it was used."""
    cost, budget = found.spent, found.budget
    where = "in virtual time" if found.virtual else "on the target"
    earlier = f" ({cost.earlier} of them in earlier sessions)" if cost.earlier else ""
    return (
        f"{cost.candidates} of {budget.candidates} candidates{earlier}, {len(found.trials)} trials"
        f" {where}, seed {found.seed}, in"
        f" {numbers.span(cost.search_s)}; {len(found.confirmed)} of {budget.confirm} front-runners"
        f" measured on the target in {numbers.span(cost.confirm_s)}; {budget.minutes:g} min were"
        " allowed."
    )


def fragment_notes(found: Exploration) -> str:
    """The comment above the point in explore.toml: what it promises, and what was measured."""
    best = found.best_outcome
    promised = _said(best) if best else ""
    where = "in virtual time" if found.virtual else "on the target"
    measured = [
        f"measured: {_said(one.measured)}"
        for one in found.confirmed
        if one.trial == found.best and one.measured and not one.vetoes
    ]
    return "; ".join([f"{where}: {promised}", *(measured or ["not confirmed by a measurement"])])


def sections(found: Exploration) -> tuple[Section, ...]:
    """Every table of the exploration that has a row, in reading order."""
    every = (
        _chosen(found),
        _confirmed(found.confirmed),
        _sweeps(found.sweeps),
        _limits(found),
        _iteration(found.decompositions, found.limits[:1]),
        _effects(found.effects),
        _importance(found.importance),
        _front(found),
    )
    return tuple(section for section in every if section.rows)


# --- Tables -----------------------------------------------------------------------------------


def _chosen(found: Exploration) -> Section:
    named = [("as it is", (found.start_settings, found.start_outcome))]
    if found.best is not None:
        best = found.trial(found.best)
        named.append(("best", (best.settings, best.outcome)))
    static = [t for t in found.trials if t.settings.batching is BatchingStrategy.STATIC]
    meeting = [t for t in static if t.outcome and found.goal.met(t.outcome)]
    if meeting:
        fastest = max(meeting, key=_throughput)
        named.append(("best static trial", (fastest.settings, fastest.outcome)))
    rows = [("tok/s", *(_reached(outcome)[0] for _, (_, outcome) in named))]
    rows.append(("P95", *(_reached(outcome)[2] for _, (_, outcome) in named)))
    rows += [
        (setting, *(_plain(getattr(settings, setting)) for _, (settings, _) in named))
        for setting in _SETTINGS
    ]
    return Section(
        title="Settings",
        said="As the point is served today, the fastest trial under the ceiling, and the fastest"
        " one without in-flight batching.",
        columns=("setting", *(name for name, _ in named)),
        rows=tuple(rows),
    )


def _confirmed(confirmed: Sequence[Confirmed]) -> Section:
    return Section(
        title="Front-runners, measured on the target",
        said="Each is measured as any operating point is, its vetoes included; its records are"
        " kept. A vetoed measurement says nothing.",
        columns=(
            "point",
            "promised tok/s",
            "measured tok/s",
            "promised P95",
            "measured P95",
            "outcome",
        ),
        rows=tuple(
            (
                one.point,
                _reached(one.promised)[0],
                _reached(one.measured)[0],
                _reached(one.promised)[2],
                _reached(one.measured)[2],
                _verdict(one),
            )
            for one in confirmed
        ),
    )


def _verdict(one: Confirmed) -> str:
    if one.failure:
        return f"not measured: {one.failure}"
    if one.vetoes:
        return "INVALID: " + "; ".join(veto.rule for veto in one.vetoes)
    return "holds" if one.met else "misses the goal"


def _sweeps(sweeps: Sequence[Sweep]) -> Section:
    concurrencies = sorted({row.concurrency for sweep in sweeps for row in sweep.rows})
    tables = [{row.concurrency: row for row in sweep.rows} for sweep in sweeps]
    return Section(
        title="The same settings over concurrency",
        said="Throughput in tok/s and P95; a * marks what misses the goal.",
        columns=("concurrency", *(sweep.name for sweep in sweeps)),
        rows=tuple(
            (
                str(concurrency),
                *(
                    f"{_said(row.outcome)}{'' if row.met else ' *'}"
                    if (row := table.get(concurrency)) and row.outcome
                    else "-"
                    for table in tables
                ),
            )
            for concurrency in concurrencies
        ),
    )


def _limits(found: Exploration) -> Section:
    best = found.best_outcome
    reached = best.throughput_tok_s if best else None
    return Section(
        title="The limit under the ceiling",
        said="The most that any order of the same work allows while the mean request stays under"
        " the ceiling: for the profile as it is fitted, for one parameter at the better end of its"
        " bounds, and for perfect kernels at peak rates (the roofline).",
        columns=("profile", "tok/s", "concurrency", "iteration", "reached of it"),
        rows=tuple(
            (
                one.name,
                numbers.tok_s(one.throughput_tok_s),
                str(one.concurrency),
                numbers.duration(one.step_s),
                "-" if reached is None else numbers.share(reached / one.throughput_tok_s),
            )
            for one in found.limits
        ),
    )


def _iteration(points: Sequence[Decomposition], bounds: Sequence[Limit]) -> Section:
    rows = [
        (one.point, *_step(one.parts), numbers.duration(one.prefill_s), f"{one.tokens:.0f}")
        for one in points
    ]
    rows += [(f"limit {one.name}", *_step(one.parts), "-", "-") for one in bounds]
    return Section(
        title="Where an iteration goes",
        said="Weights at the bandwidth of small batches, what reading them loses in large ones,"
        " what multiplying takes longer than reading, KV cache, attention, overhead; and what the"
        " iteration would save without the prompts in it.",
        columns=("point", *(name for _, name in _PARTS), "iteration", "prefill", "tokens"),
        rows=tuple(rows),
    )


def _step(parts: StepParts) -> tuple[str, ...]:
    each = [numbers.duration(getattr(parts, field)) for field, _ in _PARTS]
    return (*each, numbers.duration(parts.step_s))


def _effects(effects: Sequence[Effect]) -> Section:
    return Section(
        title="What each setting is worth",
        said="The best settings with one of them changed, at the highest concurrency that then"
        " stays under the ceiling.",
        columns=("setting", "best", "instead", "throughput", *_REACHED, "concurrency"),
        rows=tuple(
            (
                one.setting,
                one.chosen,
                one.other,
                _change(one.throughput_change),
                *_reached(one.trial.outcome if one.trial else None),
                str(one.trial.settings.concurrency)
                if one.trial
                else one.failure or "none found under it",
            )
            for one in effects
        ),
    )


def _change(fraction: float | None) -> str:
    """A change; less than half a thousandth is none, as virtual time is not that exact."""
    if fraction is None:
        return "-"
    return numbers.change(fraction if abs(fraction) >= _NO_CHANGE else 0.0)


def _importance(importance: dict[str, float]) -> Section:
    return Section(
        title="What decided",
        said="How much each searched value decides whether a candidate is among the best tenth"
        " (PED-ANOVA); the shares add up to 100 %.",
        columns=("value", "share"),
        rows=tuple((name, numbers.share(share)) for name, share in importance.items()),
    )


def _front(found: Exploration) -> Section:
    front = [found.trial(number) for number in found.front]
    step = max(-(-len(front) // _MOST_FRONT), 1)
    shown = front[::-step][::-1]
    return Section(
        title="The front of the trials",
        said="Trials that no other one beats in throughput and P95 at once"
        f"{'' if step == 1 else f', every {step} of {len(front)}'}; all are in explore.json.",
        columns=("trial", *_REACHED, *_SETTINGS),
        rows=tuple(
            (
                str(one.number),
                *_reached(one.outcome),
                *(_plain(getattr(one.settings, setting)) for setting in _SETTINGS),
            )
            for one in shown
        ),
    )


def _reached(outcome: Outcome | None) -> tuple[str, str, str]:
    if outcome is None:
        return ("-", "-", "-")
    return (
        f"{outcome.throughput_tok_s:.1f}",
        numbers.duration(outcome.latency_p50_s),
        numbers.duration(outcome.latency_p95_s),
    )


def _said(outcome: Outcome) -> str:
    throughput, _, p95 = _reached(outcome)
    return f"{throughput} tok/s, P95 {p95}"


def _plain(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _throughput(trial: Trial) -> float:
    return trial.outcome.throughput_tok_s if trial.outcome else 0.0


# --- Text -------------------------------------------------------------------------------------


def _lines(found: Exploration) -> Iterator[str]:
    yield f"{hardware_label(found.run)}: {headline(found)}"
    yield spent(found)
    for section in sections(found):
        yield ""
        yield section.title
        yield from _aligned((section.columns, *section.rows))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()
