"""What is sent, decided before anything is."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from perfgate.errors import LoadError
from perfgate.load.planner import (
    plan_requests,
    prompts_needed,
    requests_planned,
)
from perfgate.load.tensors import InputTensor, ModelInputs, serialise_request
from perfgate.model import Sampling, Workload
from perfgate.traffic.schedule import plan_schedule

pytestmark = pytest.mark.unit

SERIALISE = functools.partial(
    serialise_request,
    ModelInputs(
        "ensemble", (InputTensor("text_input", "BYTES", 2), InputTensor("max_tokens", "INT32", 2))
    ),
)

workloads = st.builds(
    Workload, concurrency=st.integers(1, 300), isl=st.just(8), osl=st.integers(1, 600)
)
samplings = st.builds(Sampling, rounds=st.integers(1, 9), round_requests=st.integers(1, 400))


@given(workloads)
def test_first_requests_are_never_empty_nor_too_long(workload):
    """First requests ask for 1 to osl tokens, each for no fewer than the one before."""
    firsts = plan_schedule(workload, workload.concurrency).osl

    assert firsts[0] >= 1
    assert firsts[-1] == workload.osl
    assert list(firsts) == sorted(firsts)


@given(workloads, samplings)
def test_prompts_suffice_for_ramp_rounds_and_slack(workload, sampling):
    """Planned prompts cover the rounds plus three waves of clients at least."""
    rounds = sampling.rounds * sampling.round_requests

    assert prompts_needed(workload, sampling) >= rounds + 3 * workload.concurrency


@given(workloads, samplings)
def test_planned_requests_are_firsts_and_rounds(workload, sampling):
    """The end of the progress bar follows from the number of prompts."""
    prompts = prompts_needed(workload, sampling)

    assert (
        requests_planned(workload, prompts)
        == workload.concurrency + sampling.rounds * sampling.round_requests
    )


def test_each_prompt_becomes_one_request():
    """Requests carry their number as id, their prompt and their length."""
    load = Workload(concurrency=2, isl=8, osl=4)
    plan = plan_requests(load, plan_schedule(load, 3), ["a", "b", "c"], SERIALISE)
    requests = [service_pb2.ModelInferRequest.FromString(request) for request in plan]

    assert [request.id for request in requests] == ["0", "1", "2"]
    assert [request.raw_input_contents[0][4:] for request in requests] == [b"a", b"b", b"c"]
    assert [request.raw_input_contents[1][0] for request in requests] == [2, 4, 4]


@pytest.mark.parametrize(
    ("prompts", "reason"), [(["a"], "1 prompts for 2"), (["a", "b", "a"], "1 of 3 prompts")]
)
def test_too_few_or_repeated_prompts_are_refused(prompts, reason):
    """Repeated prompts could be answered from the KV cache, so they are refused beforehand."""
    load = Workload(concurrency=2, isl=8, osl=4)
    schedule = plan_schedule(load, len(prompts))

    with pytest.raises(LoadError, match=reason):
        plan_requests(load, schedule, prompts, SERIALISE)
