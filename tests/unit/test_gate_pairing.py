"""The paired job as a state machine: order, repeats, faults, screen and budget."""

import numpy as np
import pytest

from perfgate.gate.boundaries import stored
from perfgate.gate.paired_judgement import judge_pairs
from perfgate.gate.pairing import Arm, Go, PairedPlan, Start, Stop, next_step
from perfgate.gate.series import Rules
from perfgate.model import Verdict

pytestmark = pytest.mark.unit

CELL = "fp8-b192-c160:throughput_tok_s"
OTHER = "fp8-b192-c160:ttft_p50_s"
RULES = Rules(tolerance=0.01, margin=0.05, boundaries=stored(), most_pairs=14)


def a_plan(**changes):
    """A plan of one primary cell."""
    return PairedPlan(
        **{
            "primary": (CELL,),
            "pair_sd": {CELL: 0.02, OTHER: 0.02},
            "tolerance": 0.01,
            "margin": 0.05,
            "budget_minutes": 100.0,
            **changes,
        }
    )


def run(plan, loss=0.0, *, faults=None, seed=1, minutes=3.5, sd=0.01):
    """Play a job against a made-up host; `faults(arm, number)` says what goes wrong."""
    rng, history = np.random.default_rng(seed), []
    while len(history) < 60:
        step = next_step(plan, RULES, history)
        if isinstance(step, Stop):
            return step, history
        value = 3000 * np.exp(rng.normal(0, sd)) * (1 - loss * (step.arm is Arm.CANDIDATE))
        fault = faults(step.arm, len(history)) if faults else ""
        values = {} if fault else {CELL: value, OTHER: 1000 / value}
        history.append(Start(arm=step.arm, minutes=minutes, values=values, fault=fault))
    pytest.fail("the job never ends")


def order(history):
    """The starts as letters."""
    return "".join("B" if start.arm is Arm.BASE else "C" for start in history)


def test_arms_take_turns_so_that_drift_cancels():
    """B C C B B C C B, until decided."""
    stop, history = run(a_plan(), 0.10)

    assert order(history) == "BCCBBCCBBC"
    assert stop.verdict is Verdict.REGRESSION


def test_an_unchanged_candidate_passes_after_few_starts():
    """The job stops at the first look that decides."""
    stop, history = run(a_plan())

    assert (stop.verdict, len(history)) == (Verdict.PASS, 6)


def test_the_screen_passes_with_a_single_start():
    """Twenty steady sessions and a first run like them: no base is started."""
    sessions = tuple(3000 * np.exp(np.random.default_rng(2).normal(0, 0.008, 20)))
    stop, history = run(a_plan(stored={CELL: sessions}))

    assert order(history) == "C"
    assert stop.verdict is Verdict.PASS


def test_the_screen_never_fails_anything():
    """A first run 30 % below the stored sessions only leads to pairs, which pass it."""
    sessions = tuple(4300 * np.exp(np.random.default_rng(2).normal(0, 0.008, 20)))
    stop, history = run(a_plan(stored={CELL: sessions}))

    assert order(history)[:4] == "CBBC"
    assert stop.verdict is Verdict.PASS


def test_a_faulty_start_is_repeated_in_place():
    """One fault costs one start and changes no order."""
    stop, history = run(a_plan(), faults=lambda _, number: "reset" if number == 2 else "")

    assert order(history) == "BCCCBBC"
    assert stop.verdict is Verdict.PASS


def test_a_fault_of_the_candidate_alone_is_a_regression():
    """Twice running, never in the base: errors are no way past the gate."""
    stop, history = run(a_plan(), faults=lambda arm, _: "OOM" if arm is Arm.CANDIDATE else "")

    assert stop.verdict is Verdict.REGRESSION
    assert "OOM" in stop.reason
    assert order(history) == "BCC"


def test_scattered_faults_of_the_candidate_prove_nothing():
    """A sound start between two faults: in a long job that is chance, and costs two starts."""
    stop, history = run(
        a_plan(), faults=lambda _, number: "no steady state" if number in {1, 3} else ""
    )

    assert order(history) == "BCCCCBBC"
    assert stop.verdict is Verdict.PASS


def test_the_base_is_heard_before_the_candidate_is_blamed():
    """Two faults of a candidate that starts first ask for the base: it may be the host."""
    sessions = (3000.0, 3001.0, 2999.0) * 5
    plan = a_plan(stored={CELL: sessions})

    guilty, history = run(plan, faults=lambda arm, _: "x" if arm is Arm.CANDIDATE else "")
    assert (guilty.verdict, order(history)) == (Verdict.REGRESSION, "CCB")
    host, history = run(plan, faults=lambda *_: "no GPU")
    assert (host.verdict, order(history)) == (Verdict.INVALID, "CCB")


def test_a_base_that_fails_twice_is_invalid():
    """Without a base there is nothing to be slower than."""
    stop, _ = run(a_plan(), faults=lambda arm, _: "reset" if arm is Arm.BASE else "")

    assert stop.verdict is Verdict.INVALID


def test_the_budget_is_honoured():
    """No start begins that the budget cannot pay; what is open then is inconclusive."""
    stop, history = run(a_plan(budget_minutes=20.0), 0.03, sd=0.015, minutes=3.0)

    assert stop.verdict is Verdict.INCONCLUSIVE
    assert len(history) * 3.0 <= 20.0
    assert "20 minutes" in stop.reason


def test_the_judgement_says_what_the_job_could_see():
    """Verdict, numbers, bounds, cost and the smallest loss that it would have found."""
    plan = a_plan(secondary=(OTHER,))
    stop, history = run(plan, 0.10)

    judgement = judge_pairs(plan, RULES, history, stop)

    end, cell, advisory = judgement.findings
    assert judgement.verdict is Verdict.REGRESSION
    assert "10 starts: B C C B" in end.message
    assert "35.0 minutes" in end.message
    assert "would find a loss of" in end.message
    assert "slower than the base in 5 pairs" in cell.message
    assert cell.got < cell.expected
    assert OTHER in advisory.message


def test_a_job_of_nothing_starts_with_a_server():
    """No history: the base first, or the candidate where it can be screened."""
    assert next_step(a_plan(), RULES, []) == Go(arm=Arm.BASE)
    assert next_step(a_plan(stored={CELL: (1.0, 2.0)}), RULES, []) == Go(arm=Arm.CANDIDATE)
