"""The LLM API's model inside the real Triton, over the wire, with a stand-in for TensorRT-LLM."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from perfgate.load.running import RunningLoad
from perfgate.load.tensors import fetch_inputs
from perfgate.model import Engine, Target, Workload
from perfgate.serving.command import server_command
from perfgate.serving.launch import Launch, pick_ports
from perfgate.serving.process import new_identity, server_at, start
from perfgate.serving.repository import write_repository
from perfgate.serving.tensors import TENSORRT_LLM
from perfgate.serving.tokenizer import load_tokenizer, prompts, save_tokenizer
from perfgate.serving.triton import find_triton, make_backend_directory
from tests.triton.conftest import SERVING, SPEC
from tests.triton.wire import Client

pytestmark = pytest.mark.triton

STANDIN = Path(__file__).parents[1] / "standins" / "tensorrt_llm"
PROMPT = prompts(load_tokenizer(), isl=40, count=1, seed=1)[0]
EXACT = {"end_id": -1, "return_num_input_tokens": True, "return_num_output_tokens": True}


@pytest.fixture(scope="module")
def llm_log(tmp_path_factory):
    """Where the stand-in tells what happened to it."""
    return tmp_path_factory.mktemp("llm") / "log"


@pytest.fixture(scope="module")
def server(tmp_path_factory, llm_log):
    """The wheel's Triton with the rendered llmapi repository."""
    folder = tmp_path_factory.mktemp("llmapi")
    model = folder / "model"
    save_tokenizer(load_tokenizer(), model)
    engine = Engine(spec=SPEC, target=Target.LLMAPI, directory=model, digest="0" * 16)
    repository = write_repository(folder, engine, SERVING, model, tensorrt_llm="1.2.1")
    # Beside the model, since Triton's stub does not heed PYTHONPATH.
    shutil.copytree(STANDIN, repository / TENSORRT_LLM / "1" / STANDIN.name)
    install = find_triton()
    backends = make_backend_directory(install, folder / "backends")
    environment = {
        **install.environment,
        "STANDIN_LLM_LOG": str(llm_log),
        "OMPI_COMM_WORLD_RANK": "0",
    }

    def plan():
        ports, identity = pick_ports(), new_identity()
        argv = server_command(
            install.binary, repository=repository, backends=backends, ports=ports, identity=identity
        )
        log = folder / "triton.log"
        return Launch(
            argv=argv,
            environment=environment,
            identity=identity,
            log=log,
            server=server_at(ports, engine, log),
        )

    with ExitStack() as stack:
        yield start(stack, plan, ready_timeout_s=60)


@pytest.fixture
def client(server):
    """A client of the one model there is."""
    with Client(server.grpc_url, model=server.model, rank=1) as client:
        yield client


def test_the_model_takes_what_the_load_client_sends(server):
    """By its own metadata: every tensor of a fixed-length, counted stream is there."""
    sent = {tensor.name for tensor in fetch_inputs(server.grpc_url, server.model).tensors}

    assert sent == {
        "text_input",
        "max_tokens",
        "stream",
        "return_num_output_tokens",
        "end_id",
        "min_tokens",
        "exclude_input_in_output",
        "return_num_input_tokens",
        "return_perf_metrics",
    }


def test_a_stream_brings_every_token_by_itself(client):
    """Streaming: one response a token, counted as one; the prompt's length is exact."""
    responses = client.ask(text_input=PROMPT, max_tokens=12, stream=True, **EXACT)

    assert [response.tensors["num_output_tokens"] for response in responses] == [1] * 12
    assert {response.tensors["num_input_tokens"] for response in responses} == {40}
    assert [response.final for response in responses] == [False] * 11 + [True]


def test_deltas_put_together_are_the_whole_answer(client):
    """Not the text so far again and again."""
    streamed = client.ask(text_input=PROMPT, max_tokens=12, stream=True, **EXACT)
    (whole,) = client.ask(
        text_input=PROMPT, max_tokens=12, stream=False, exclude_input_in_output=True, **EXACT
    )

    assert b"".join(r.tensors["text_output"] for r in streamed) == whole.tensors["text_output"]
    assert whole.tensors["num_output_tokens"] == 12


def test_the_model_s_own_end_is_heeded_unless_ignored(client):
    """Five tokens by itself, twelve when the end is ignored."""
    question = {"text_input": PROMPT, "max_tokens": 12, "stream": True}
    question["return_num_output_tokens"] = True
    own = client.ask(**question)
    fixed = client.ask(**question, ignore_eos=True)

    assert sum(response.tensors["num_output_tokens"] for response in own) == 5
    assert sum(response.tensors["num_output_tokens"] for response in fixed) == 12


def test_the_engine_s_stamps_cross_the_wire(client):
    """As whole nanoseconds, in order, with the final response only."""
    responses = client.ask(
        text_input=PROMPT, max_tokens=12, stream=True, return_perf_metrics=True, **EXACT
    )
    names = ("arrival", "first_scheduled", "first_token", "last_token")
    stamps = [int(responses[-1].tensors[f"{name}_time_ns"]) for name in names]

    assert stamps == sorted(stamps)
    assert stamps[2] < stamps[3]
    assert all("arrival_time_ns" not in response.tensors for response in responses[:-1])


def test_a_client_that_leaves_aborts_its_request(server, llm_log):
    """Going away mid-answer reaches the LLM, which stops long before the end."""
    before = llm_log.read_text().count("abort after")
    with Client(server.grpc_url, model=server.model, rank=1) as leaving:
        leaving.send(text_input=PROMPT, max_tokens=1900, stream=True, end_id=-1)
        leaving.receive()

    deadline = 200
    while llm_log.read_text().count("abort after") == before:
        deadline -= 1
        assert deadline, llm_log.read_text()
        time.sleep(0.05)  # the model's log tells of it, and nothing else
    tokens = int(llm_log.read_text().rpartition("abort after ")[2].split()[0])
    assert tokens < 1900


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"max_tokens": 0}, "max_tokens: got 0"),
        ({"text_input": " ba" * 1600}, "RequestError: prompt length exceeds max_input_len"),
        ({"text_input": ""}, "text_input: got no text"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_request_that_cannot_run_gets_the_reason(client, given, reason):
    """Bad input is a Triton error that says what is wrong; the server lives on."""
    (response,) = client.ask(**{"text_input": PROMPT, "max_tokens": 4, "stream": True, **given})

    assert reason in response.error
    assert len(client.ask(text_input=PROMPT, max_tokens=2, stream=True, end_id=-1)) == 2


def test_a_whole_load_is_measured_as_on_the_other_targets(server, tmp_path):
    """The suite's own client: every request of the length asked for, with the engine's stamps."""
    load = Workload(concurrency=8, isl=40, osl=16)
    texts = prompts(load_tokenizer(), isl=40, count=120, seed=3)
    with RunningLoad(server, load, texts, spool=tmp_path) as loop:
        loop.ramp_up()
        loop.round(24)
        outcome = loop.finish()
    finished = [record for record in outcome.records if record.status == "ok"]

    assert outcome.faults == ()
    assert len(finished) >= 24
    assert {record.output_tokens for record in finished if record.index >= 8} == {16}
    assert {record.input_tokens for record in finished if record.index < 8} == {40}
    assert all(record.server for record in finished)
    for record in finished:
        assert record.server.arrival_ns > record.sent_ns
        assert record.server.last_token_ns < record.finished_ns
