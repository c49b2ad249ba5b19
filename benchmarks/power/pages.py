"""The experiment as a page: tables in Markdown, and one plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure

from power.grid import CVS, LOSSES, OURS, OURS_FOUR, PAIRS, Rate
from power.peers import RULES

mpl.rcParams["svg.hashsalt"] = "perfgate"  # the same figures give the same file

SHOWN = (OURS, OURS_FOUR, *RULES)


def tables(rates: Sequence[Rate]) -> str:
    """Both tables: the rules side by side in field noise, ours in every noise."""
    return f"{_side_by_side(rates)}\n\n{_every_noise(rates)}\n"


def _side_by_side(rates: Sequence[Rate]) -> str:
    heading = ["rule", "false alarms", *(f"loss {_pc(loss)} %" for loss in LOSSES[1:])]
    heading += ["host 8 % slow", "minutes honest", "minutes at 5 %"]
    rows = [_rule_row(rates, rule) for rule in (*SHOWN[:2], PAIRS, *SHOWN[2:])]
    return (
        "Share of jobs that go red, in %, in `field` noise at a CV of 1 / 2 / 4 %:\n\n"
        + _markdown(heading, rows)
    )


def _rule_row(rates: Sequence[Rate], rule: str) -> list[str]:
    def each(noise: str, loss: float, field: str = "red", scale: float = 100) -> str:
        found = [_find(rates, rule, noise, cv, loss) for cv in CVS]
        return " / ".join(_short(getattr(rate, field) * scale) for rate in found)

    return [
        rule,
        each("field", 0.0),
        *(each("field", loss) for loss in LOSSES[1:]),
        each("slow host 8 %", 0.0),
        each("field", 0.0, "minutes", 1),
        each("field", 0.05, "minutes", 1),
    ]


def _every_noise(rates: Sequence[Rate]) -> str:
    heading = ["noise", "CV", "false alarms", *(f"red at {_pc(x)} %" for x in LOSSES[1:])]
    heading += ["wrong pass at 5 %", "honest: inconclusive", "invalid", "unstable"]
    heading += ["minutes", "P95"]
    rows = []
    for noise in dict.fromkeys(rate.noise for rate in rates):
        rows += [_noise_row(rates, noise, cv) for cv in CVS]
    return (
        "The gate with four primary cells of one point, one of them slower, in every noise; "
        "shares of jobs in %:\n\n" + _markdown(heading, rows)
    )


def _noise_row(rates: Sequence[Rate], noise: str, cv: float) -> list[str]:
    honest = _find(rates, OURS_FOUR, noise, cv, 0.0)
    mine = {rate.loss: rate for rate in rates if _key(rate)[:3] == (OURS_FOUR, noise, cv)}
    red = [_short(100 * mine[x].red) if x in mine else "-" for x in LOSSES[1:]]
    return [
        noise,
        f"{_pc(cv)} %",
        f"{100 * honest.red:.2f}",
        *red,
        _short(100 * mine[0.05].passed) if 0.05 in mine else "-",
        _short(100 * honest.inconclusive),
        _short(100 * honest.invalid),
        _short(100 * honest.unstable),
        f"{honest.minutes:.1f}",
        f"{honest.minutes_p95:.0f}",
    ]


def plot(rates: Sequence[Rate]) -> str:
    """Power over loss for every rule, one panel a CV, as SVG."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(CVS), sharey=True)
    for axis, cv in zip(axes, CVS, strict=True):
        for rule in SHOWN:
            red = [100 * _find(rates, rule, "field", cv, loss).red for loss in LOSSES]
            ours = rule.startswith("perfgate")
            axis.plot(
                [100 * loss for loss in LOSSES],
                red,
                label=rule,
                linewidth=2.4 if ours else 1.0,
                linestyle="-" if ours else "--",
                marker="o" if ours else None,
                markersize=3,
            )
        axis.axvline(5, color="0.7", linewidth=0.8)
        axis.set_title(f"between-run CV {_pc(cv)} %")
        axis.set_xlabel("true loss, %")
    axes[0].set_ylabel("jobs that go red, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _find(rates: Iterable[Rate], rule: str, noise: str, cv: float, loss: float) -> Rate:
    return next(rate for rate in rates if _key(rate) == (rule, noise, cv, loss))


def _key(rate: Rate) -> tuple[str, str, float, float]:
    return rate.rule, rate.noise, rate.cv, rate.loss


def _pc(fraction: float) -> str:
    return f"{100 * fraction:g}"


def _short(value: float) -> str:
    return f"{value:.1f}" if 0 < value < 10 or 99 < value < 100 else f"{value:.0f}"


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
