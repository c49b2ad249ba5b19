"""Each rule objects to what it is there for, and to nothing on a clean run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfgate.measure.measure import measure
from perfgate.measure.validity import RULES, only_disturbed
from perfgate.model import Policy, RequestStatus, Sampling, ServerTimings, Target
from tests.unit.factories import a_point, a_steady_run

pytestmark = pytest.mark.unit

POINT = a_point(concurrency=4, sampling=Sampling(rounds=4, round_requests=20))
CLEAN = a_steady_run(POINT)
LATE = "perfgate_sim_late_seconds_total"
BUSY = "perfgate_sim_busy_seconds_total"
TOKENS = 'nv_llm_output_token_len_sum{model="tensorrt_llm",version="1"}'
REQUESTS = 'nv_inference_request_success{model="ensemble",version="1"}'
PARTS = 'nv_inference_request_success{model="postprocessing",version="1"}'
SENT = sum(record.output_tokens for record in CLEAN.records)


def vetoed(run):
    """The rules that object."""
    return [veto.rule for veto in measure(run, Policy()).vetoes]


def with_record(**changes):
    """The clean run with its fiftieth request changed."""
    records = list(CLEAN.records)
    records[50] = replace(records[50], **changes)
    return replace(CLEAN, records=tuple(records))


def with_audit(**changes):
    """The clean run by another client."""
    return replace(CLEAN, audit=replace(CLEAN.audit, **changes))


def with_metrics(before, after):
    """The clean run between two snapshots of the server's metrics."""
    return replace(CLEAN, server_before=before, server_after=after)


def delivered_late(by_ns):
    """The clean run, its tokens said by the engine every 100 ms and its ends heard that late."""
    records = tuple(
        replace(
            record,
            server=ServerTimings(
                arrival_ns=record.sent_ns,
                first_scheduled_ns=record.sent_ns,
                first_token_ns=record.finished_ns
                - by_ns
                - 100_000_000 * (record.output_tokens - 1),
                last_token_ns=record.finished_ns - by_ns,
            ),
        )
        for record in CLEAN.records
    )
    return replace(CLEAN, records=records)


BROKEN = {
    "faults": replace(CLEAN, faults=("the server is gone",)),
    "failed-requests": with_record(status=RequestStatus.ERROR, error="out of memory"),
    "rounds": replace(CLEAN, marks_ns=CLEAN.marks_ns[:-1]),
    "requests": with_record(status=RequestStatus.UNFINISHED),
    "output-length": with_record(tokens=(*CLEAN.records[50].tokens[:-1], 2)),
    "input-length": with_record(input_tokens=7),
    "client-cpu": with_audit(cpu_s=9.0, wall_s=10.0),
    "client-lag": with_audit(lag_p99_s=0.011),
    "client-clock": with_audit(clock_uncertainty_s=0.011),
    "late-sends": with_audit(late_sends=2),
    "stolen-time": with_audit(stolen_s=0.6, wall_s=10.0),
    "simulator-lateness": with_metrics({BUSY: 1.0, LATE: 1.0}, {BUSY: 11.0, LATE: 1.3}),
    "simulator-delivery": delivered_late(201_000_000),
    "server-tokens": with_metrics({TOKENS: 5.0}, {TOKENS: 5.0 + SENT - 1}),
    "server-requests": with_metrics({REQUESTS: 5.0}, {REQUESTS: 5.0 + len(CLEAN.records) + 1}),
}


def test_a_clean_run_is_not_vetoed():
    """No rule objects to a steady run with all of the server's metrics in order."""
    before = {BUSY: 1.0, LATE: 0.0, TOKENS: 5.0, REQUESTS: 5.0}
    after = {
        BUSY: 11.0,
        LATE: 0.1,
        TOKENS: 5.0 + SENT,
        REQUESTS: 5.0 + len(CLEAN.records),
        PARTS: 128.0 * len(CLEAN.records),  # an ensemble's part that is asked once a token
    }

    assert vetoed(with_metrics(before, after)) == []


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_objects(rule):
    """What a rule is there for is vetoed under its name."""
    assert rule in vetoed(BROKEN[rule])


def test_each_worker_is_held_against_the_limits():
    """One busy worker of three is not hidden by two that idle, nor by their sum over time."""
    busy, idle = (replace(CLEAN.audit, cpu_s=cpu_s, wall_s=10.0) for cpu_s in (7.5, 1.0))

    assert vetoed(with_audit(wall_s=10.0, workers=(idle, busy, idle))) == ["client-cpu"]
    assert vetoed(with_audit(cpu_s=9.0, wall_s=10.0, workers=(idle,) * 9)) == []


def test_requests_that_idle_clients_break_littles_law():
    """If a tenth of each client's time is unaccounted for, the loop was not closed."""
    records = tuple(
        replace(record, due_ns=record.due_ns + record.finished_ns // 10 - record.due_ns // 10)
        for record in CLEAN.records
    )

    assert vetoed(replace(CLEAN, records=records)) == ["littles-law"]


def test_a_deadline_is_a_failure():
    """A request the client gave up on vetoes the run, and its text is shown."""
    run = with_record(status=RequestStatus.DEADLINE, error="no final response within 5 s")
    (veto,) = (one for one in measure(run, Policy()).vetoes if one.rule == "failed-requests")

    assert "no final response within 5 s" in veto.message


def test_prompts_of_unknown_length_are_let_through():
    """A server that does not report input lengths is not vetoed for it."""
    records = tuple(replace(record, input_tokens=None) for record in CLEAN.records)

    assert vetoed(replace(CLEAN, records=records)) == []


def test_tokens_of_requests_in_flight_may_or_may_not_be_counted():
    """The server's total is accepted anywhere between the exact bounds, and nowhere else."""
    last = replace(CLEAN.records[-1], status=RequestStatus.UNFINISHED, tokens=(), arrivals_ns=())
    records = (*CLEAN.records[:-1], last)
    least = SENT - 128

    for total, accepted in [(least - 1, False), (least, True), (SENT, True), (SENT + 1, False)]:
        run = replace(CLEAN, records=records, server_before={}, server_after={TOKENS: total})
        assert ("server-tokens" not in vetoed(run)) is accepted


@pytest.mark.parametrize(
    ("rule", "series", "right"),
    [
        ("server-tokens", 'vllm:generation_tokens_total{engine="0",model_name="m"}', SENT),
        ("server-tokens", "llamacpp:tokens_predicted_total", SENT),
        (
            "server-requests",
            'vllm:request_success_total{finished_reason="length"}',
            len(CLEAN.records),
        ),
    ],
)
def test_other_servers_counters_are_held_against_the_client_s_too(rule, series, right):
    """By the names that vLLM and llama-server give them."""
    for total, accepted in [(right - 1, False), (right, True), (right + 1, False)]:
        run = with_metrics({series: 5.0}, {series: 5.0 + total})
        assert (rule not in vetoed(run)) is accepted


def test_an_idle_simulator_has_no_lateness():
    """A simulator that did no work between the snapshots is not divided by."""
    assert vetoed(with_metrics({BUSY: 1.0, LATE: 1.0}, {BUSY: 1.0, LATE: 1.0})) == []


def test_every_rule_says_what_it_objects_to():
    """Each rule has a docstring, which the documentation of vetoes rests on."""
    assert all(rule.__doc__ for rule in RULES)


def test_tokens_delivered_within_two_iterations_are_in_time():
    """Up to two iterations throughput stays within a percent or two of the simulated GPU's."""
    assert vetoed(delivered_late(199_000_000)) == []


def test_delivery_is_judged_of_simulated_engines_only():
    """A real engine's clock need not be the client's."""
    run = delivered_late(201_000_000)
    real = replace(run, fingerprint=replace(run.fingerprint, simulated=False))

    assert vetoed(real) == []


def test_a_second_try_is_for_disturbances_alone():
    """A failed request or a wrong length is the server's: trying again would hide it."""
    disturbed = measure(BROKEN["client-lag"], Policy()).vetoes
    wrong = measure(BROKEN["output-length"], Policy()).vetoes

    assert only_disturbed(disturbed)
    assert not only_disturbed(wrong)
    assert not only_disturbed((*disturbed, *wrong))
    assert not only_disturbed(())


def with_kv_cache(blocks, tokens_per=32, target=Target.TRT_ENGINE):
    """The clean run on an engine whose cache has so many blocks."""
    series = 'nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="{}",model="tensorrt_llm"}}'
    gauges = {series.format("max"): blocks, series.format("tokens_per"): tokens_per}
    fingerprint = replace(CLEAN.fingerprint, target=target)
    return replace(with_metrics({}, gauges), fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("blocks", "rules"), [(2048, []), (2049, []), (2047, ["kv-cache-size"]), (0, [])]
)
def test_a_kv_cache_smaller_than_pinned_is_no_measurement(blocks, rules):
    """65536 tokens are 2048 blocks; with fewer it is another point. Nothing said, no veto."""
    assert POINT.serving.kv_cache_tokens == 65536
    assert vetoed(with_kv_cache(blocks)) == rules


def test_a_cache_that_is_not_ours_may_have_any_size():
    """A server that already runs was not told how many tokens to hold."""
    assert vetoed(with_kv_cache(1, target=Target.REMOTE)) == []
