"""Paired jobs from end to end, on made-up rigs: started, stored, judged and judged again."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfgate import calibration
from perfgate.against_base import screenable
from perfgate.errors import BaselineError, NoSamplesError, ServerError, UsageError
from perfgate.gate.pairing import Arm
from perfgate.model import Limits, PairedPolicy, Verdict, Veto
from perfgate.paired import (
    PAIRS,
    plan_of,
    plan_of_windows,
    rejudge_pairs,
    require_paired,
    run_pairs,
)
from perfgate.suite import load_suite
from tests.unit.factories import a_cell, a_measurement, a_point, a_sample
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

POINT = "fp8-b192-c160"
PRIMARY = (f"{POINT}:throughput_tok_s", f"{POINT}:latency_p95_s")
POLICY = PairedPolicy(primary=PRIMARY, secondary=(f"{POINT}:tpot_p50_s",))


def a_calibration(*, boots=10, sessions=4, sd=0.01, seed=1):
    """A host whose runs scatter by `sd`."""
    rng = np.random.default_rng(seed)
    runs = {
        cell: [
            [[float(1000 * np.exp(rng.normal(0, sd)))] for _ in range(boots)]
            for _ in range(sessions)
        ]
        for cell in (*POLICY.primary, *POLICY.secondary)
    }
    return calibration.derive("gb10-sim", "2026-01-01T00:00:00+00:00", 3.5, runs)


class Host:
    """Opens made-up rigs; `loss` is what the candidate loses, `spoil` may change a measurement."""

    def __init__(self, loss=0.0, spoil=None):
        self.loss, self.spoil = loss, spoil
        self.rng = np.random.default_rng(2)
        self.opened, self.running, self.now = [], 0, 0.0

    @contextmanager
    def open(self, arm, number):
        """Count servers: never two at once."""
        self.opened.append((arm, number))
        self.running += 1
        assert self.running == 1
        try:
            yield self
        finally:
            self.running -= 1

    def measure(self, point):
        """A measurement with 0.7 % noise, three minutes later."""
        self.now += 180
        arm, number = self.opened[-1]
        factor = float(np.exp(self.rng.normal(0, 0.007)))
        factor /= 1 - self.loss * (arm is Arm.CANDIDATE)
        one = a_measurement(
            point, throughput_tok_s=3000 / factor, p95_s=6.8 * factor, tpot_s=0.05 * factor
        )
        return self.spoil(one, arm, number) if self.spoil else one


def play(host, tmp_path, policy=POLICY):
    """Run a paired job on a made-up host."""
    points = {arm: {POINT: a_point(POINT)} for arm in Arm}
    plan = plan_of(policy, a_calibration())
    return run_pairs(
        plan, points, host.open, base="main", artifacts=tmp_path, clock=lambda: host.now
    )


@pytest.mark.parametrize(
    ("loss", "verdict"), [(0.0, Verdict.PASS), (0.08, Verdict.REGRESSION)], ids=["same", "slower"]
)
def test_a_job_is_stored_and_judged_again_to_the_same_verdict(tmp_path, loss, verdict):
    """What was concluded on the host can be concluded from pairs.json alone."""
    judgement = play(Host(loss), tmp_path)

    assert judgement.verdict is verdict
    assert rejudge_pairs(tmp_path) == judgement
    assert judgement.records == str(tmp_path / PAIRS)


def test_every_start_is_a_server_of_its_own(tmp_path):
    """Each start opens a fresh rig and closes it before the next."""
    host = Host(0.08)
    play(host, tmp_path)

    assert [number for _, number in host.opened] == list(range(len(host.opened)))
    assert host.running == 0


def test_an_interrupted_job_is_invalid_not_a_pass(tmp_path):
    """Ctrl-C in mid-job leaves its starts, which decide nothing."""

    def interrupt(one, _arm, number):
        if number == 3:
            raise KeyboardInterrupt
        return one

    with pytest.raises(KeyboardInterrupt):
        play(Host(spoil=interrupt), tmp_path)

    assert rejudge_pairs(tmp_path).verdict is Verdict.INVALID


def test_a_veto_of_the_candidate_alone_is_a_regression(tmp_path):
    """Twice vetoed where the base runs clean: the candidate's doing."""

    def veto(one, arm, _number):
        bad = Veto(rule="output-length", message="3 requests brought another number of tokens")
        return replace(one, vetoes=(bad,)) if arm is Arm.CANDIDATE else one

    judgement = play(Host(spoil=veto), tmp_path)

    assert judgement.verdict is Verdict.REGRESSION
    assert "another number of tokens" in judgement.findings[0].message


def test_other_work_on_the_machine_is_not_the_candidate_s_doing(tmp_path):
    """Disturbed starts are repeated in place; a machine that never rests is INVALID."""
    lag = Veto(rule="client-lag", message="the load client woke up 90 ms late")

    def disturb(starts):
        def spoil(one, arm, number):
            hit = arm is Arm.CANDIDATE and number in starts
            return replace(one, vetoes=(lag,)) if hit else one

        return spoil

    passing, never = Host(spoil=disturb({1, 2, 3})), Host(spoil=disturb(range(99)))

    assert play(passing, tmp_path / "some").verdict is Verdict.PASS
    assert [arm.value[0] for arm, _ in passing.opened][:5] == list("bcccc")
    judgement = play(never, tmp_path / "all")
    assert judgement.verdict is Verdict.INVALID
    assert "woke up 90 ms late" in judgement.findings[0].message


def test_what_may_be_the_server_s_doing_is_held_against_the_candidate(tmp_path):
    """Little's law broken twice by one arm alone, on a machine that rests, is no chance."""
    law = Veto(rule="littles-law", message="77 requests in flight, 64 clients")

    def veto(one, arm, _number):
        return replace(one, vetoes=(law,)) if arm is Arm.CANDIDATE else one

    assert play(Host(spoil=veto), tmp_path).verdict is Verdict.REGRESSION


def test_a_host_that_serves_nobody_is_invalid(tmp_path):
    """Both arms dying says nothing of the candidate."""

    def die(_one, _arm, _number):
        raise ServerError("Triton exited with status 139")

    assert play(Host(spoil=die), tmp_path).verdict is Verdict.INVALID


def test_a_cell_without_calibration_is_refused():
    """No sd, no error rate: the message says what to run."""
    policy = PairedPolicy(primary=("p:throughput_tok_s",))

    with pytest.raises(UsageError, match="perfgate calibrate"):
        plan_of(policy, a_calibration())


def test_a_policy_without_cells_or_with_an_unknown_metric_is_refused():
    """Nothing is booted for a job that cannot be judged."""
    policy = load_suite(ROOT).policy

    assert require_paired(policy).primary
    with pytest.raises(UsageError, match=r"paired\.primary"):
        require_paired(replace(policy, paired=PairedPolicy()))
    with pytest.raises(UsageError, match="metric"):
        require_paired(replace(policy, paired=PairedPolicy(primary=("p:speed",))))
    with pytest.raises(UsageError, match="at most 4"):
        PairedPolicy(primary=tuple(f"p{i}:tpot_p50_s" for i in range(5)))
    with pytest.raises(UsageError, match="primary or secondary"):
        PairedPolicy(primary=PRIMARY, own={"p:tpot_p50_s": Limits(margin=0.02)})
    with pytest.raises(UsageError, match="tolerance"):
        Limits(tolerance=0.02, margin=0.02)
    with pytest.raises(UsageError, match="point:metric"):
        PairedPolicy(primary=("throughput",))


def test_limits_of_a_cell_reach_the_job(tmp_path):
    """Two percent pass by the policy's margin of five, and not by a cell's own."""
    strict = replace(POLICY, own={PRIMARY[1]: Limits(tolerance=0.0, margin=0.02)})

    assert play(Host(0.02), tmp_path).verdict is Verdict.PASS
    judgement = play(Host(0.02), tmp_path, strict)

    assert judgement.verdict is Verdict.REGRESSION
    told = {one.metric: one for one in judgement.findings if one.check == "pairs"}
    assert told["latency_p95_s"].margin == 0.02
    assert told["throughput_tok_s"].margin == 0.05
    assert rejudge_pairs(tmp_path) == judgement


# --- Calibration ------------------------------------------------------------------------------


def test_a_calibration_edited_by_hand_is_refused(tmp_path):
    """The sd must follow from the runs beside it."""
    path = tmp_path / calibration.FILE
    calibration.save(path, a_calibration())
    assert calibration.load(path) == a_calibration()

    path.write_text(path.read_text().replace('"start_minutes": 3.5', '"start_minutes": 3.6'))
    assert calibration.load(path).start_minutes == 3.6
    sd = next(iter(a_calibration().pair_sd.values()))
    path.write_text(path.read_text().replace(str(sd), "0.001", 1))
    with pytest.raises(BaselineError, match="edited by hand"):
        calibration.load(path)


def test_a_calibration_finds_the_sd_of_a_pair():
    """Forty boots tell the planted scatter within a fifth, and are enough."""
    known = a_calibration(sd=0.01)

    mean = np.mean(list(known.pair_sd.values()))
    assert mean == pytest.approx(0.01 * 2**0.5, rel=0.2)
    assert calibration.enough(known, PRIMARY[0])
    assert not calibration.enough(a_calibration(boots=5), PRIMARY[0])
    with pytest.raises(NoSamplesError, match="boots"):
        a_calibration(boots=2)


# --- Two servers that stay up ------------------------------------------------------------------


def play_windows(host, tmp_path):
    """Compare two servers that stay up."""
    points = {arm: {POINT: a_point(POINT)} for arm in Arm}
    return run_pairs(
        plan_of_windows(POLICY),
        points,
        host.open,
        base="grpc://production:8001",
        artifacts=tmp_path,
        clock=lambda: host.now,
    )


@pytest.mark.parametrize("loss", [0.0, 0.4], ids=["same", "far slower"])
def test_two_running_servers_are_compared_and_not_judged(tmp_path, loss):
    """However large the difference, one start of each proves nothing of the change."""
    host = Host(loss)
    judgement = play_windows(host, tmp_path)

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert [arm.value[0] for arm, _ in host.opened] == list("bccbbccbbccb")
    told = [one for one in judgement.findings if one.check == "windows"]
    assert [one.metric for one in told] == ["throughput_tok_s", "latency_p95_s", "tpot_p50_s"]
    moved = 1 - told[0].got / told[0].expected
    assert moved == pytest.approx(loss, abs=0.01)
    assert rejudge_pairs(tmp_path) == judgement


def test_windows_that_are_not_sound_are_invalid(tmp_path):
    """Somebody else's server that fails says nothing of speed."""

    def veto(one, arm, _number):
        bad = Veto(rule="errors", message="3 requests failed")
        return replace(one, vetoes=(bad,)) if arm is Arm.CANDIDATE else one

    assert play_windows(Host(spoil=veto), tmp_path).verdict is Verdict.INVALID


# --- What may be screened ----------------------------------------------------------------------

TODAY = datetime(2026, 1, 20, tzinfo=UTC)


def sessions(count, *, days_ago=3):
    """Stored runs, one a session."""
    measured = (TODAY - timedelta(days=days_ago)).isoformat()
    return tuple(a_sample(session=f"s{i}", measured_at=measured) for i in range(count))


@pytest.mark.parametrize(
    ("samples", "screened"),
    [(sessions(12), True), (sessions(9), False), (sessions(12, days_ago=31), False)],
    ids=["enough", "too few", "too old"],
)
def test_thin_or_old_sessions_screen_nothing(samples, screened):
    """Ten sessions, one of them of the last thirty days, or pairs alone decide."""
    found = screenable(POLICY, {POINT: a_cell(samples=samples)}, today=TODAY)

    assert bool(found) is screened


def test_several_runs_of_one_session_count_once():
    """Runs of one day share that day: they are one sample of it."""
    same = tuple(replace(one, session="s0") for one in sessions(20))

    assert not screenable(POLICY, {POINT: a_cell(samples=same)}, today=TODAY)
