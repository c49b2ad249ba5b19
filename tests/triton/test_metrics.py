"""The server's own numbers move with what it does."""

import time

import numpy as np
import pytest

from perfgate.serving.metrics import scrape
from perfgate.serving.tokenizer import load_tokenizer, prompts
from tests.triton.wire import Client

pytestmark = pytest.mark.triton

PROMPT = prompts(load_tokenizer(), isl=64, count=1, seed=2)[0]
MODEL = 'model="tensorrt_llm"'
PATIENCE_S = 10.0


def gauge(metrics, family, category):
    """The value of the one series of `family` with that category."""
    (value,) = [v for name, v in metrics.items() if name.startswith(family) and category in name]
    return value


def eventually(server, condition):
    """Scrape until the metrics, updated ten times a second, satisfy `condition`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition(metrics := scrape(server.metrics_url)):
        assert time.monotonic() < deadline, metrics
        time.sleep(0.05)
    return metrics


def idle(metrics):
    """Whether no request holds a slot or a KV block."""
    return (
        gauge(metrics, "nv_trt_llm_request_metrics", '"active"') == 0
        and gauge(metrics, "nv_trt_llm_kv_cache_block_metrics", '"used"') == 0
    )


def test_token_totals_count_exactly_what_was_answered(server, client):
    """Input and output token histograms grow by the tokens of the request, once it has ended."""
    before = eventually(server, idle)
    client.ask(text_input=PROMPT, max_tokens=20, stream=True, end_id=-1)

    def grown(metrics, side):
        family = f"nv_llm_{side}_token_len_sum"
        return gauge(metrics, family, MODEL) - gauge(before, family, MODEL)

    after = eventually(server, lambda metrics: grown(metrics, "output"))

    assert grown(after, "output") == 20
    assert grown(after, "input") == 64


def test_simulated_time_is_counted_and_kept(server, client):
    """Busy seconds grow by the iterations that ran, about 30 ms each; lateness is counted too."""
    before = eventually(server, idle)
    client.ask(text_input=PROMPT, max_tokens=20, stream=True, end_id=-1)
    after = eventually(server, lambda metrics: idle(metrics) and metrics != before)
    busy_s, late_s = (
        gauge(after, f"perfgate_sim_{name}_seconds_total", MODEL)
        - gauge(before, f"perfgate_sim_{name}_seconds_total", MODEL)
        for name in ("busy", "late")
    )

    assert busy_s == pytest.approx(20 * 0.030, rel=0.2)
    assert late_s >= 0


def test_gauges_follow_a_running_request(server, client):
    """While a request runs it holds a slot and KV blocks and the GPU is busy; then none."""
    client.send(text_input=PROMPT, max_tokens=60, stream=True, end_id=-1)
    client.receive()
    running = eventually(server, lambda m: gauge(m, "nv_trt_llm_request_metrics", '"active"') == 1)

    assert gauge(running, "nv_trt_llm_kv_cache_block_metrics", '"used"') >= 2
    assert gauge(running, "nv_trt_llm_kv_cache_block_metrics", '"fraction"') > 0
    while not client.receive().final:
        pass
    assert eventually(server, idle)


def test_a_cancelled_request_frees_its_blocks(server):
    """A client that goes away mid-answer leaves no request and no KV block behind.

    Asked of the engine itself: Triton's ensembles do not pass a cancellation on to their models.
    """
    ids = np.full((1, 64), 5)
    with Client(server.grpc_url, model="tensorrt_llm") as leaving:
        leaving.send(input_ids=ids, input_lengths=64, request_output_len=1500, streaming=True)
        leaving.receive()
        eventually(server, lambda metrics: not idle(metrics))

    assert eventually(server, idle)  # the answer would have taken 45 s
