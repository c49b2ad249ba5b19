"""The simulated engine as Triton drives it: requests in, tokens out, metrics moving."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from perfgate.dilation import SERIES, VARIABLE
from perfgate.model import ServingSpec
from perfgate.serving.repository import scheduling_parameters
from perfgate.serving.simulated.backend import TritonPythonModel
from perfgate.serving.simulated.metrics import EngineMetrics
from perfgate.sim.scheduler import SchedulerStats
from tests.unit.sim_engine import quick_engine
from tests.unit.triton_backend import MetricFamily, Request, numbers

pytestmark = pytest.mark.unit

PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A loaded model with a quick engine."""
    model = loaded(tmp_path_factory.mktemp("engine"))
    yield model
    model.finalize()


def loaded(root):
    """A model as Triton loads it."""
    folder = quick_engine(root)
    parameters = {
        "gpt_model_path": str(folder),
        **scheduling_parameters(ServingSpec(kv_cache_tokens=4096)),
    }
    config = {"parameters": {key: {"string_value": v} for key, v in parameters.items()}}
    model = TritonPythonModel()
    model.initialize({"model_config": json.dumps(config), "model_version": "1"})
    return model


def a_request(*, tokens=8, streaming=True, ids=(5, 6, 7), **more):
    """A request as the ensemble sends it."""
    return Request(
        input_ids=numbers(*ids),
        input_lengths=numbers(len(ids)),
        request_output_len=numbers(tokens),
        streaming=numbers(streaming, dtype=bool),
        return_num_output_tokens=numbers(1, dtype=bool),
        **more,
    )


def eventually(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def answered(model, *requests):
    """The responses to each request, once all have finished."""
    model.execute(list(requests))
    eventually(lambda: all(request.sender.finished for request in requests))
    return [request.sender.responses for request in requests]


def metric(family, category=""):
    """The metric of one family with that category."""
    found = [
        metric
        for (name, labels), metric in MetricFamily.made.items()
        if name == family and (not category or category in dict(labels).values())
    ]
    return found[-1]


def test_a_stream_brings_each_token_by_itself(model):
    """As many responses as tokens, the last one final."""
    (responses,) = answered(model, a_request(tokens=8))

    assert [int(r.tensors["num_output_tokens"][0, 0]) for r in responses] == [1] * 8


def test_more_requests_than_slots_are_all_served(model):
    """Twelve requests through four slots, none lost."""
    requests = [a_request(tokens=5, ids=(5, number)) for number in range(12)]

    for responses in answered(model, *requests):
        assert sum(int(r.tensors["num_output_tokens"][0, 0]) for r in responses) == 5


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (a_request(tokens=0), "max_tokens"),
        (a_request(tokens=127), "max_seq_len"),
        (a_request(ids=[5] * 65), "max_input_len"),
        (a_request(beam_width=numbers(4)), "beam_width"),
    ],
    ids=["no tokens", "too long", "prompt too long", "beams"],
)
def test_a_request_that_can_never_run_gets_the_reason(model, request_, reason):
    """At once, and it is not kept."""
    ((response,),) = answered(model, request_)

    assert reason in str(response.error)
    assert not model._replies


def test_a_client_that_has_gone_frees_its_slot(model):
    """Found by the next ticks; the engine drops the request."""
    request = a_request(tokens=100)
    request.sender.cancelled = True
    model.execute([request])

    eventually(lambda: request.sender.finished and not model._replies)
    assert len(request.sender.responses) < 100


def test_token_totals_reach_triton_s_metrics(model):
    """Input and output lengths are observed once per finished request."""
    before = len(metric("nv_llm_output_token_len").observed)
    answered(model, a_request(tokens=6, ids=(1, 2)))

    eventually(lambda: len(metric("nv_llm_output_token_len").observed) > before)
    assert metric("nv_llm_output_token_len").observed[-1] == 6
    assert metric("nv_llm_input_token_len").observed[-1] == 2


def test_gauges_return_to_rest(model):
    """After the last request no slot and no block is in use, and time was counted as busy."""
    answered(model, a_request())

    eventually(lambda: metric("nv_trt_llm_request_metrics", "active").value == 0)
    eventually(lambda: metric("nv_trt_llm_kv_cache_block_metrics", "used").value == 0)
    assert metric("perfgate_sim_busy_seconds_total").value > 0
    assert metric("nv_trt_llm_request_metrics", "max").value == 4


def test_an_engine_that_runs_slower_says_so(model, tmp_path, monkeypatch):
    """By a gauge, and its stamps are of its own clock."""
    assert model
    assert metric(SERIES).value == 1
    monkeypatch.setenv(VARIABLE, "4")
    monkeypatch.setattr(MetricFamily, "made", {})
    slow = loaded(tmp_path)
    before_ns = time.perf_counter_ns() // 4
    asked = a_request(tokens=1, return_perf_metrics=numbers(1, dtype=bool))
    ((response,),) = answered(slow, asked)
    slow.finalize()

    assert metric(SERIES).value == 4
    arrived_ns = int(response.tensors["arrival_time_ns"][0, 0])
    assert before_ns <= arrived_ns <= time.perf_counter_ns() // 4


def test_counters_only_ever_grow():
    """An update without work adds nothing; work adds its own time."""
    scheduler = SchedulerStats(**dict.fromkeys(SchedulerStats.__dataclass_fields__, 1))
    stats = SimpleNamespace(scheduler=scheduler, busy_ns=2_000_000_000, late_total_ns=0)
    metrics = EngineMetrics(stats, version="9")
    metrics.update(stats)
    metrics.update(stats)
    assert metrics._busy.value == 2.0

    stats.busy_ns = 3_500_000_000
    metrics.update(stats)
    assert metrics._busy.value == 3.5
    assert metrics._late.value == 0.0
    assert np.isfinite(metrics._busy_share.value)
