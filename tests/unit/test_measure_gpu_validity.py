"""A GPU that was held down, shared or out of its clocks vetoes the run, and nothing else does."""

from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.measure.gpu_validity import GPU_RULES
from perfgate.measure.measure import measure
from perfgate.measure.validity import only_disturbed
from perfgate.model import GpuSample, Policy, Sampling, Telemetry
from tests.unit.factories import a_point, a_steady_run

pytestmark = pytest.mark.unit

CLEAN = a_steady_run(a_point(concurrency=4, sampling=Sampling(rounds=4, round_requests=20)))
START, END = CLEAN.marks_ns[0], CLEAN.marks_ns[-1]
SAMPLES = 100
SOUND = GpuSample(at_ns=0, utilization=0.96, sm_clock_mhz=2411, slowdowns=(), pids=(6,))


def vetoes(*, count=SAMPLES, first=SOUND, policy=None, telemetry=None, **changes):
    """The vetoes on a run in which the first `count` of 100 samples are changed."""
    changed = replace(first, **changes)
    samples = [
        replace(changed if i < count else SOUND, at_ns=START + 1 + i * (END - START) // SAMPLES)
        for i in range(SAMPLES)
    ]
    watched = Telemetry(
        period_s=0.2,
        gpu=tuple(samples),
        sm_clock_max_mhz=3003,
        pids_before=(),
        pids_at_start=(6,),
        process_names={"6": "tritonserver", "9": "ollama"},
    )
    run = replace(CLEAN, telemetry=replace(watched, **(telemetry or {})))
    return measure(run, policy or Policy()).vetoes


def rules(**changes):
    """The names of the rules that object."""
    return [veto.rule for veto in vetoes(**changes)]


def test_a_sound_gpu_is_not_vetoed():
    """A GB10 at its usual clock, used by the server alone."""
    assert rules() == []


@pytest.mark.parametrize(
    "reason",
    ["hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"],
)
def test_each_slowdown_is_vetoed_with_its_reason(reason):
    """Heat or power that held the clocks down for more than the policy's share."""
    (veto,) = vetoes(count=2, slowdowns=(reason,))

    assert veto.rule == "gpu-slowdown"
    assert "2 of 100 samples" in veto.message
    assert reason in veto.message


def test_a_slowdown_up_to_the_limit_is_let_through():
    """The share allowed is allowed."""
    assert rules(count=1, slowdowns=("power brake",)) == []
    assert rules(count=5, slowdowns=("power brake",), policy=Policy(max_slowdown_share=0.05)) == []


def test_a_process_that_joins_is_foreign():
    """Who was not there when the load began is none of the server's, even in one sample."""
    (veto,) = vetoes(count=1, pids=(6, 9))

    assert veto.rule == "foreign-process"
    assert "9 ollama" in veto.message
    assert "tritonserver" not in veto.message


def test_a_process_from_before_the_boot_is_foreign():
    """A tenant that was there all along is found although it was there at the start too."""
    telemetry = {"pids_before": (9,), "pids_at_start": (6, 9)}

    assert rules(pids=(6, 9), telemetry=telemetry) == ["foreign-process"]


def test_a_tenant_that_left_before_the_window_does_no_harm():
    """Only who computed during the window counts."""
    assert rules(telemetry={"pids_before": (9,), "pids_at_start": (6, 9)}) == []


def test_a_clock_below_the_band_is_vetoed():
    """A GPU stuck at 513 MHz for more than the policy's share of the window."""
    (veto,) = vetoes(count=6, sm_clock_mhz=513)

    assert veto.rule == "gpu-clock"
    assert "1802 to 3003 MHz" in veto.message
    assert "6.0% of the window (as far as 513 MHz)" in veto.message


def test_a_clock_above_the_band_is_vetoed():
    """A runner whose clock is locked at 2100 MHz must not run above."""
    policy = Policy(min_sm_clock=0.65, max_sm_clock=0.70)

    assert rules(sm_clock_mhz=2411, policy=policy) == ["gpu-clock"]
    assert rules(sm_clock_mhz=2100, policy=policy, count=SAMPLES) == []


def test_a_short_excursion_is_let_through():
    """The share of the window that is allowed outside is allowed."""
    assert rules(count=5, sm_clock_mhz=513) == []


@pytest.mark.parametrize("field", ["slowdowns", "pids", "sm_clock_mhz"])
def test_what_is_not_reported_breaks_no_rule(field):
    """A reading the GPU does not have is not held against it."""
    assert rules(**{field: None}) == []
    assert rules(sm_clock_mhz=513, telemetry={"sm_clock_max_mhz": None}) == []


def test_samples_that_lack_a_reading_do_not_dilute_the_others():
    """The share is of the samples that know: 2 of 50, though 100 were taken."""
    half = SAMPLES // 2
    run = replace(
        CLEAN,
        telemetry=Telemetry(
            period_s=0.2,
            gpu=tuple(
                replace(
                    SOUND,
                    at_ns=START + 1 + i,
                    slowdowns=None if i >= half else ("power brake",) if i < 1 else (),
                )
                for i in range(SAMPLES)
            ),
            sm_clock_max_mhz=3003,
            pids_at_start=(6,),
        ),
    )

    (veto,) = measure(run, Policy()).vetoes
    assert "1 of 50 samples" in veto.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_sm_clock", 0.0),
        ("max_sm_clock", 1.1),
        ("max_sm_clock", 0.5),
        ("max_slowdown_share", 1),
    ],
)
def test_a_band_that_cannot_be_is_refused(field, value):
    """The policy's own numbers are checked where they are read."""
    with pytest.raises(UsageError, match=field):
        Policy(**{field: value})


def test_what_the_gpu_did_may_be_gone_in_a_second_try():
    """Heat and other tenants pass: such a run is measured again before it is given up."""
    found = vetoes(pids=(6, 9), slowdowns=("power brake",), sm_clock_mhz=513, count=SAMPLES)

    assert len(found) == len(GPU_RULES)
    assert only_disturbed(found)


def test_every_rule_says_what_it_objects_to():
    """Each rule has a docstring, which the documentation of vetoes rests on."""
    assert all(rule.__doc__ for rule in GPU_RULES)
