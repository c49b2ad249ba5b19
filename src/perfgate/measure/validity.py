"""Why a run may not be judged: each rule is a function that objects or returns None.

The rules never look at a number that is judged, only at whether the numbers can be believed. A
vetoed run is INVALID: neither a pass nor a regression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from perfgate.measure.evidence import Evidence
from perfgate.measure.gpu_validity import gpu_vetoes
from perfgate.measure.steady_validity import backlog, littles_law, no_steady_state
from perfgate.model import LoadRun, RequestStatus, Target, Veto

MAX_LATE_SENDS = 0.02
MIN_DELIVERY_S = 0.05

DISTURBANCES = frozenset(
    (
        "littles-law",
        "client-cpu",
        "client-lag",
        "late-sends",
        "stolen-time",
        "simulator-lateness",
        "simulator-delivery",
        "foreign-process",
        "gpu-slowdown",
        "gpu-clock",
    )
)
_OTHER_WORK = DISTURBANCES - {"littles-law", "gpu-slowdown", "gpu-clock"}
"""Rules that other work or heat on the machine breaks: a second try may well hold them."""

_LATE = "perfgate_sim_late_seconds_total"
_BUSY = "perfgate_sim_busy_seconds_total"
# Of Triton, vLLM and llama-server: a server exports those of its own kind alone.
_SERVER_TOKENS = (
    "nv_llm_output_token_len_sum",
    "vllm:generation_tokens_total",
    "llamacpp:tokens_predicted_total",
)
_KV_CACHE = "nv_trt_llm_kv_cache_block_metrics"
_SERVER_REQUESTS = ("nv_inference_request_success", "vllm:request_success_total")
_FAILED = (RequestStatus.ERROR, RequestStatus.DEADLINE)


def vetoes(evidence: Evidence) -> tuple[Veto, ...]:
    """Return the objections of all rules."""
    objections = (rule(evidence) for rule in RULES)
    return (
        *(objection for objection in objections if objection is not None),
        *gpu_vetoes(evidence.run.telemetry, evidence.window, evidence.policy),
    )


def only_disturbed(found: Sequence[Veto]) -> bool:
    """Whether there are objections, and all of them may be gone in a second try."""
    return bool(found) and all(veto.rule in DISTURBANCES for veto in found)


def other_work(found: Sequence[Veto]) -> bool:
    """Whether other work on the machine is behind all objections, by the client's own clocks.

    Little's law or a slow GPU alone could be the server's doing.
    """
    return only_disturbed(found) and any(veto.rule in _OTHER_WORK for veto in found)


def load_faults(evidence: Evidence) -> Veto | None:
    """The load client or the server broke down."""
    faults = evidence.run.faults
    return Veto(rule="faults", message="; ".join(faults)) if faults else None


def failed_requests(evidence: Evidence) -> Veto | None:
    """A request failed, in the window or outside: what it would have cost is not in the numbers."""
    failed = [record for record in evidence.run.records if record.status in _FAILED]
    if not failed:
        return None
    return Veto(
        rule="failed-requests",
        message=f"{len(failed)} of {len(evidence.run.records)} requests failed, the first with:"
        f" {failed[0].error}",
    )


def rounds_missing(evidence: Evidence) -> Veto | None:
    """Fewer rounds were completed than the point asks for."""
    got, asked = len(evidence.run.marks_ns) - 1, evidence.run.point.sampling.rounds
    if got >= asked:
        return None
    return Veto(rule="rounds", message=f"{got} of {asked} rounds were completed")


def requests_missing(evidence: Evidence) -> Veto | None:
    """The rounds hold fewer good requests than the point asks for."""
    sampling = evidence.run.point.sampling
    got, asked = len(evidence.window.finished), sampling.rounds * sampling.round_requests
    if got >= asked or sampling.round_seconds is not None:
        return None  # where time ends a round, how many requests it holds is for nobody to say
    return Veto(rule="requests", message=f"{got} requests ended well in the window, not {asked}")


def output_lengths(evidence: Evidence) -> Veto | None:
    """A finished request brought more or fewer tokens than asked for."""
    wrong = [
        record
        for record in evidence.run.records
        if record.status is RequestStatus.OK
        and record.output_tokens != record.expected_output_tokens
    ]
    if not wrong:
        return None
    example = wrong[0]
    return Veto(
        rule="output-length",
        message=f"{len(wrong)} requests brought another number of tokens than asked for, the first"
        f" {example.output_tokens} instead of {example.expected_output_tokens}",
    )


def input_lengths(evidence: Evidence) -> Veto | None:
    """A prompt was not as long as it was planned, by the server's own count."""
    isl = evidence.run.point.workload.isl
    counted = [record for record in evidence.run.records if record.input_tokens is not None]
    wrong = Counter(
        (record.expected_input_tokens or isl, record.input_tokens)
        for record in counted
        if record.input_tokens != (record.expected_input_tokens or isl)
    )
    if not wrong:
        return None
    (planned, length), count = wrong.most_common(1)[0]
    return Veto(
        rule="input-length",
        message=f"{wrong.total()} prompts were not as long as planned; {count} were {length} tokens"
        f" instead of {planned}",
    )


def client_cpu(evidence: Evidence) -> Veto | None:
    """The load client used so much of a core that it may have been the bottleneck."""
    if evidence.run.audit is None:
        return None
    share, limit = evidence.run.audit.cpu_share, evidence.policy.max_client_cpu_share
    if share <= limit:
        return None
    return Veto(
        rule="client-cpu",
        message=f"the load client used {share:.0%} of a core, at most {limit:.0%} is allowed",
    )


def client_lag(evidence: Evidence) -> Veto | None:
    """The load client was scheduled too late to stamp arrivals when they came."""
    audit, limit_s = evidence.run.audit, evidence.policy.max_client_lag_s
    if audit is None or audit.lag_p99_s <= limit_s:
        return None
    return Veto(
        rule="client-lag",
        message=f"the load client woke up {audit.lag_p99_s * 1e3:.1f} ms late (P99), at most"
        f" {limit_s * 1e3:.1f} ms is allowed, and waited for a core for {audit.wait_share:.0%} of"
        " the time: other work has its cores",
    )


def client_clock(evidence: Evidence) -> Veto | None:
    """Load workers on other machines have clocks that agree too badly to add up their records."""
    if evidence.run.audit is None:
        return None
    off_s, limit_s = evidence.run.audit.clock_uncertainty_s, evidence.policy.max_client_lag_s
    if off_s <= limit_s:
        return None
    return Veto(
        rule="client-clock",
        message=f"the clocks of the load machines are known to {off_s * 1e3:.1f} ms only, at most"
        f" {limit_s * 1e3:.1f} ms is allowed: the network between them is too slow or too busy",
    )


def stolen_time(evidence: Evidence) -> Veto | None:
    """The hypervisor gave the load machine's cores to others: client and server stood still."""
    if evidence.run.audit is None:
        return None
    share, limit = evidence.run.audit.stolen_share, evidence.policy.max_stolen_share
    if share <= limit:
        return None
    return Veto(
        rule="stolen-time",
        message=f"the hypervisor took {share:.1%} of the machine's core time, at most {limit:.0%}"
        " is allowed",
    )


def late_sends(evidence: Evidence) -> Veto | None:
    """The load client sent requests late: the server was idler than the workload says."""
    if evidence.run.audit is None:
        return None
    late, limit = evidence.run.audit.late_sends, MAX_LATE_SENDS * len(evidence.window.finished)
    if late <= limit:
        return None
    return Veto(
        rule="late-sends",
        message=f"{late} requests were sent late, at most {MAX_LATE_SENDS:.0%} of"
        f" {len(evidence.window.finished)} may be",
    )


def simulator_lateness(evidence: Evidence) -> Veto | None:
    """The simulated engine did not get the CPU to keep its own time."""
    busy_s = _growth(evidence.run, _BUSY)
    late_s = _growth(evidence.run, _LATE)
    if not busy_s or late_s is None:
        return None
    share, limit = late_s / busy_s, evidence.policy.max_server_lateness
    if share <= limit:
        return None
    return Veto(
        rule="simulator-lateness",
        message=f"the simulated engine ran {late_s:.2f} s late in {busy_s:.1f} s of work"
        f" ({share:.1%}), at most {limit:.1%} is allowed: this machine is too busy",
    )


def simulator_delivery(evidence: Evidence) -> Veto | None:
    """The simulated engine's tokens took longer than two iterations to reach the client.

    A closed loop then misses iterations that the simulated GPU would have given it: what is
    measured is the machine between the two.
    """
    if not evidence.run.fingerprint.simulated:
        return None  # elsewhere the clocks of engine and client need not agree
    timed = [(r, r.server) for r in evidence.window.finished if r.server and r.output_tokens > 1]
    if not timed:
        return None
    late_s = np.array([record.finished_ns - server.last_token_ns for record, server in timed]) / 1e9
    iteration_s = np.mean(
        [
            (server.last_token_ns - server.first_token_ns) / (record.output_tokens - 1)
            for record, server in timed
        ]
    )
    p95_s, limit_s = (
        float(np.percentile(late_s, 95)),
        max(MIN_DELIVERY_S, 2 * float(iteration_s) / 1e9),
    )
    if p95_s <= limit_s:
        return None
    return Veto(
        rule="simulator-delivery",
        message=f"last tokens reached the client {p95_s * 1e3:.0f} ms (P95) after the simulated"
        f" engine's clock, at most {limit_s * 1e3:.0f} ms is allowed: this machine"
        " is too busy",
    )


def server_tokens(evidence: Evidence) -> Veto | None:
    """The server counted other tokens than the client received.

    The server may or may not have counted those of requests that were still in flight when
    the load stopped, so its total is held between two bounds, which are exact.
    """
    growths = (_growth(evidence.run, family) for family in _SERVER_TOKENS)
    total = next((growth for growth in growths if growth is not None), None)
    if total is None:
        return None
    records = evidence.run.records
    least = sum(record.output_tokens for record in records if record.status is RequestStatus.OK)
    most = least + sum(
        record.expected_output_tokens for record in records if record.status is not RequestStatus.OK
    )
    if least <= total <= most:
        return None
    return Veto(
        rule="server-tokens",
        message=f"the server counted {total:.0f} output tokens; the client's requests account for"
        f" {least} to {most}: tokens were lost, or somebody else used the server",
    )


def kv_cache_size(evidence: Evidence) -> Veto | None:
    """The engine's KV cache holds fewer tokens than the point pins it to.

    TensorRT-LLM takes the lesser of the pinned tokens and a share of free memory, and says
    nothing: on unified memory the page cache decides.
    """
    run = evidence.run
    blocks, tokens_per = _kv_cache(run, "max"), _kv_cache(run, "tokens_per")
    if run.fingerprint.target == Target.REMOTE or not blocks or not tokens_per:
        return None  # how another server is run is not ours to say
    asked = run.point.serving.kv_cache_tokens
    if blocks >= asked // tokens_per:
        return None
    return Veto(
        rule="kv-cache-size",
        message=f"the KV cache holds {blocks * tokens_per:.0f} tokens ({blocks:.0f} blocks of"
        f" {tokens_per:.0f}), but kv_cache_tokens is {asked}: free memory was short when Triton"
        " started",
    )


def server_requests(evidence: Evidence) -> Veto | None:
    """No model of the server counted as many requests as the client sent.

    Every Triton counts requests, whatever its models are; which model the client asked is not
    recorded, and an ensemble's parts count in their own way, so one that agrees will do. vLLM
    counts by how a request ended, which is alike for all that ended well. As with tokens,
    requests that did not end well may or may not have been counted.
    """
    run = evidence.run
    counted = [
        total - run.server_before.get(series, 0.0)
        for series, total in run.server_after.items()
        if series.partition("{")[0] in _SERVER_REQUESTS
    ]
    least = sum(record.status is RequestStatus.OK for record in run.records)
    if not counted or any(least <= count <= len(run.records) for count in counted):
        return None
    closest = min(counted, key=lambda count: abs(count - least))
    return Veto(
        rule="server-requests",
        message=f"the server counted {closest:.0f} requests, the client {least} to"
        f" {len(run.records)}: requests were lost, or somebody else used the server",
    )


RULES = (
    load_faults,
    failed_requests,
    rounds_missing,
    requests_missing,
    output_lengths,
    input_lengths,
    backlog,
    littles_law,
    client_cpu,
    client_lag,
    client_clock,
    late_sends,
    stolen_time,
    simulator_lateness,
    simulator_delivery,
    server_tokens,
    kv_cache_size,
    server_requests,
    no_steady_state,
)


def _growth(run: LoadRun, family: str) -> float | None:
    """Sum what all series of `family` grew by; None if the server does not export it."""
    series = [name for name in run.server_after if name.partition("{")[0] == family]
    if not series:
        return None
    return sum(run.server_after[name] - run.server_before.get(name, 0.0) for name in series)


def _kv_cache(run: LoadRun, category: str) -> float | None:
    """The gauge of that category after the load; None if the server does not export it."""
    return next(
        (
            value
            for series, value in run.server_after.items()
            if series.partition("{")[0] == _KV_CACHE and f'="{category}"' in series
        ),
        None,
    )
