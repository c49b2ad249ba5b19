"""The gate against seeded regressions and injected faults, on the simulated engine in virtual time.

    python benchmarks/mutation_score.py     writes benchmarks/results/mutation_score.json and tables

A mutant is killed by a job that says REGRESSION: pairs of base and mutant, in field noise, with
throughput, P95 latency, TTFT and TPOT as primary cells. Exit 1 if a bar is missed.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutation.faults import FAULTS, Fault, verdict_on
from mutation.mutants import MAIN, MUTANTS, Mutant
from mutation.virtual import load_run, measured, points
from power.grid import GATE, RUNS, job
from power.noise import MODELS

from perfgate import codec
from perfgate.gate.losses import from_fraction, log_cost, to_fraction
from perfgate.gate.metrics import BY_NAME
from perfgate.gate.pairing import Arm, PairedPlan, Start, Stop, next_step
from perfgate.gate.rehearsal import arms, rehearse
from perfgate.hardware import load_profile
from perfgate.model import Cell, LoadRun, Measurement, Verdict
from perfgate.suite import load_suite

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutation_score.json"
PAGE = ROOT / "docs" / "gate.md"
BEGIN, END = "<!-- mutation: begin -->", "<!-- mutation: end -->"
CVS = (0.005, 0.01, 0.02)
JOBS = 400
FIELD = next(model for model in MODELS if model.name == "field")
LARGE = 0.07


@dataclass(frozen=True)
class Trial:
    """One mutant: its largest loss, in which cell, and the share of jobs that killed it, by CV.

    `vetoes` are what made every run of the mutant invalid, if anything: the job then says that the
    mutant broke what the base does. `equivalent` mutants lose at most the tolerance.
    """

    mutant: str
    point: str
    loss: float
    cell: str
    vetoes: tuple[str, ...]
    equivalent: bool
    killed: dict[str, float]


def main() -> int:
    """Try all mutants and faults; tell, store, and say whether the bars hold."""
    profile = load_profile(ROOT / "hardware" / "gb10.toml")
    tried = points(load_suite(ROOT).point(MAIN))
    runs = {name: load_run(point, profile, None) for name, point in tried.items()}
    base = {name: measured(run) for name, run in runs.items()}
    if unsound := [name for name, one in base.items() if one.vetoes]:
        print(f"the base itself is vetoed at {', '.join(unsound)}: no mutant can be judged there")
        return 2
    trials = []
    for mutant in MUTANTS:
        run = load_run(tried[mutant.point], profile, mutant)
        trials.append(_trial(mutant, base[mutant.point], measured(run)))
        print(f"\r{len(trials)} of {len(MUTANTS)} mutants ", end="", flush=True)
    said = {fault.name: _said(fault, runs[MAIN], base[MAIN]) for fault in FAULTS}
    codec.write_atomic(RESULTS, codec.to_pretty_json({"mutants": trials, "faults": said}))
    text, sound = _tell(trials, said)
    _write(text)
    print(f"\n{text}")
    return 0 if sound else 1


def _trial(mutant: Mutant, base: Measurement, changed: Measurement) -> Trial:
    losses = [_loss(base, changed, name) for name in BY_NAME]
    worst = int(np.argmax(losses))
    return Trial(
        mutant=mutant.name,
        point=mutant.point,
        loss=to_fraction(losses[worst]),
        cell=list(BY_NAME)[worst],
        vetoes=tuple(veto.rule for veto in changed.vetoes),
        equivalent=not changed.vetoes and losses[worst] <= from_fraction(GATE.tolerance),
        killed={f"{100 * cv:g} %": _killed(mutant, losses, changed, cv) for cv in CVS},
    )


def _loss(base: Measurement, changed: Measurement, name: str) -> float:
    before, after = (BY_NAME[name].read(one) for one in (base, changed))
    if before is None or after is None:
        msg = f"{name}: too few requests in virtual time"
        raise ValueError(msg)
    return log_cost(BY_NAME[name], after) - log_cost(BY_NAME[name], before)


def _killed(mutant: Mutant, losses: list[float], changed: Measurement, cv: float) -> float:
    """The share of jobs that say REGRESSION; a mutant that is always vetoed ends in one."""
    if changed.vetoes:
        return float(_broken_candidate(changed.vetoes[0].message) is Verdict.REGRESSION)
    rng = np.random.default_rng(zlib.crc32(f"{mutant.name} {cv}".encode()))
    costs, _, sd = job(FIELD, cv, rng, jobs=JOBS, cells=len(losses))
    costs[:, arms(RUNS, screened=False)] += losses
    return rehearse(costs, sd, GATE).share(Verdict.REGRESSION)


def _broken_candidate(reason: str) -> Verdict:
    history = [
        Start(
            arm=arm, minutes=3.5, values={} if fault else {"p:throughput_tok_s": 1.0}, fault=fault
        )
        for arm, fault in ((Arm.BASE, ""), (Arm.CANDIDATE, reason), (Arm.CANDIDATE, reason))
    ]
    return _verdict(history)


def _said(fault: Fault, run: LoadRun, base: Measurement) -> dict[str, str]:
    """What a single run and a paired job say of a fault that befalls both arms."""
    cell = Cell(
        floor_tok_s=base.throughput_tok_s * 0.9,
        source="planted",
        identity=dict(run.fingerprint.identity),
    )
    verdict, text = verdict_on(fault, run, cell)
    history = [
        Start(arm=arm, minutes=3.5, fault=text) for arm in (Arm.BASE, Arm.CANDIDATE, Arm.BASE)
    ]
    paired = _verdict(history) if text else None
    return {"run": str(verdict), "pairs": str(paired) if paired else "not concerned"}


def _verdict(history: list[Start]) -> Verdict:
    plan = PairedPlan(
        primary=("p:throughput_tok_s",),
        pair_sd={"p:throughput_tok_s": 0.02},
        tolerance=GATE.tolerance,
        margin=GATE.margin,
        budget_minutes=100.0,
    )
    step = next_step(plan, GATE, history)
    if not isinstance(step, Stop):
        msg = "the job goes on after repeated faults"
        raise TypeError(msg)
    return step.verdict


def _tell(trials: list[Trial], said: dict[str, dict[str, str]]) -> tuple[str, bool]:
    real = [trial for trial in trials if not trial.equivalent]
    equivalent = len(trials) - len(real)
    lines = [
        f"{len(trials)} seeded regressions; {equivalent} cost at most the tolerance in any cell.",
        "",
        "| killed, % of jobs | " + " | ".join(f"CV {cv}" for cv in trials[0].killed) + " |",
        "| --- " * (1 + len(CVS)) + "|",
        _row("all that are not equivalent", real),
        _row("loss of 5 % and more", [t for t in real if t.loss >= GATE.margin or t.vetoes]),
        _row("loss of 7 % and more", [t for t in real if t.loss >= LARGE or t.vetoes]),
        "",
        "| mutant | point | largest loss | in | killed at CV "
        + " / ".join(trials[0].killed)
        + " |",
        "| --- | --- | --- | --- | --- |",
        *(_mutant_row(trial) for trial in sorted(trials, key=lambda t: t.loss)),
        "",
        f"{len(said)} classes of faults, in both arms: "
        + ", ".join(f"{name} ({what['run']})" for name, what in said.items())
        + ".",
    ]
    quiet = "0.5 %"
    score = np.mean([trial.killed[quiet] for trial in real])
    large = [t.killed["1 %"] for t in real if t.loss >= LARGE or t.vetoes]
    wrong = [n for n, w in said.items() if {w["run"], w["pairs"]} & {"REGRESSION", "PASS"}]
    sound = score >= 0.95 and min(large) >= 0.99 and not wrong
    if wrong:
        lines += ["", f"Faults taken for a verdict: {', '.join(wrong)}."]
    return "\n".join(lines) + "\n", bool(sound)


def _row(what: str, trials: list[Trial]) -> str:
    shares = [100 * float(np.mean([t.killed[cv] for t in trials])) for cv in trials[0].killed]
    return f"| {what} ({len(trials)}) | " + " | ".join(f"{share:.1f}" for share in shares) + " |"


def _mutant_row(trial: Trial) -> str:
    if trial.vetoes:
        killed = f"broken: {', '.join(trial.vetoes)}"
    else:
        killed = " / ".join(f"{100 * share:.0f}" for share in trial.killed.values())
    name = f"{trial.mutant} (equivalent)" if trial.equivalent else trial.mutant
    return f"| {name} | {trial.point} | {100 * trial.loss:.1f} % | {trial.cell} | {killed} |"


def _write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    if found:
        _, _, after = rest.partition(END)
        codec.write_atomic(PAGE, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


if __name__ == "__main__":
    sys.exit(main())
