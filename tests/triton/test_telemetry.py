"""The watcher beside a real Triton: its gauges are found under their real names."""

import threading

import pytest

from perfgate.model import Target
from perfgate.observe import watch as watch_module
from perfgate.observe.watch import Watcher
from perfgate.serving.tokenizer import load_tokenizer, prompts

pytestmark = pytest.mark.triton

PROMPT = prompts(load_tokenizer(), isl=64, count=1, seed=3)[0]
PATIENCE_S = 20.0


def test_a_loaded_server_s_gauges_are_sampled(server, client, monkeypatch):
    """While a request runs, a sample shows it, its KV blocks, nobody waiting, and a busy GPU."""
    running, sampled = threading.Event(), watch_module.server_sample

    def noticed(metrics, *, at_ns):
        sample = sampled(metrics, at_ns=at_ns)
        if sample.active and sample.kv_cache and sample.gpu_utilization:
            running.set()
        return sample

    monkeypatch.setattr(watch_module, "server_sample", noticed)
    watcher = Watcher(Target.SIM, period_s=0.05)
    with watcher.watch(server) as telemetry:
        client.send(text_input=PROMPT, max_tokens=60, stream=True, end_id=-1)
        while not client.receive().final:
            pass
        assert running.wait(PATIENCE_S)
    watcher.close()

    samples = telemetry().server
    assert telemetry().faults == ()
    assert max(sample.active for sample in samples) == 1
    assert {sample.waiting for sample in samples} == {0}
    assert 0 < max(sample.kv_cache for sample in samples) < 0.1
    assert 0 < max(sample.gpu_utilization for sample in samples) <= 1
