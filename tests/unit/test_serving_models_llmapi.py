"""The LLM API behind the ensemble's tensors: deltas, fixed length, counts, stamps, cancellation."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from perfgate.model import (
    BatchingStrategy,
    Engine,
    Precision,
    SchedulerPolicy,
    ServingSpec,
    Target,
)
from perfgate.serving import tensors
from perfgate.serving.llm_arguments import llm_arguments
from perfgate.serving.models import llmapi
from perfgate.serving.repository import write_repository
from perfgate.serving.tokenizer import load_tokenizer, prompts, save_tokenizer
from tests.unit.factories import a_point
from tests.unit.triton_backend import Request, TritonError

pytestmark = pytest.mark.unit

PROMPT = prompts(load_tokenizer(), isl=20, count=1, seed=1)[0]
PATIENCE_S = 10.0
LEFT_BY_MPIRUN = (
    "OMPI_COMM_WORLD_RANK",
    "OMPI_MCA_orte_hnp_uri",
    "PMIX_RANK",
    "PMI_RANK",
    "ORTE_SCHIZO",
)
STANDINS = str(Path(__file__).parents[1] / "standins")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model, loaded as it was rendered, on the stand-in of TensorRT-LLM."""
    folder = tmp_path_factory.mktemp("llmapi")
    save_tokenizer(load_tokenizer(), folder)
    serving = ServingSpec(kv_cache_tokens=4096)
    engine = Engine(spec=a_point().engine, target=Target.LLMAPI, directory=folder, digest="ab12")
    repository = write_repository(folder, engine, serving, folder, tensorrt_llm="1.2.1")
    config = text_format.Parse(
        (repository / "tensorrt_llm" / "config.pbtxt").read_text(), ModelConfig()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STANDINS)
        for name in LEFT_BY_MPIRUN:
            patch.setenv(name, "0")
        patch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
        patch.setenv("STANDIN_LLM_LOG", str(folder / "log"))
        model = llmapi.TritonPythonModel()
        model.initialize({"model_config": as_triton_gives_it(config)})
        model.log = folder / "log"
        model.environment = dict(os.environ)
        yield model
        model.finalize()
    for name in [name for name in sys.modules if name.startswith("tensorrt_llm")]:
        del sys.modules[name]


def as_triton_gives_it(config):
    """The configuration as a Python model gets it: JSON under the names of the text format."""
    return json_format.MessageToJson(config, preserving_proto_field_name=True)


def row(value):
    """A tensor of one element, of the type its value has."""
    kinds = {bool: bool, int: np.int32, float: np.float32}
    if isinstance(value, str):
        return np.array([value.encode()], dtype=object)
    return np.array([value], dtype=kinds[type(value)])


def a_request(*, sender=None, **given):
    """A request for twelve tokens, counted, however early the model would end."""
    asked = {"text_input": PROMPT, "max_tokens": 12, "end_id": -1, "stream": True}
    asked |= {"return_num_output_tokens": True, **given}
    return Request(sender, **{name: row(value) for name, value in asked.items()})


def answered(model, request):
    """The responses, once the request has finished."""
    model.execute([request])
    eventually(lambda: request.sender.finished)
    return request.sender.responses


def eventually(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def counts(responses):
    """How many tokens each response says it holds."""
    return [int(response.tensors["num_output_tokens"][0]) for response in responses]


def test_a_stream_brings_deltas_that_count_exactly(model):
    """One token a response, twelve in all; the texts put together are the whole answer."""
    streamed = answered(model, a_request())
    whole = answered(model, a_request(stream=False, exclude_input_in_output=True))

    assert counts(streamed) == [1] * 12
    assert counts(whole) == [12]
    texts = [response.tensors["text_output"][0].decode() for response in streamed]
    assert "".join(texts) == whole[0].tensors["text_output"][0].decode()


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({"end_id": -1}, 12),
        ({"end_id": 7, "ignore_eos": True}, 12),
        ({"end_id": 7}, 5),
        ({"end_id": 7, "min_tokens": 9}, 9),
    ],
    ids=["end id below zero", "ignore_eos", "the model's own end", "min_tokens"],
)
def test_the_length_is_fixed_if_asked(model, given, tokens):
    """Either way to ask for it, and only then."""
    assert sum(counts(answered(model, a_request(**given)))) == tokens


def test_without_streaming_the_prompt_comes_back_unless_excluded(model):
    """Text and count hold the prompt too, as the ensemble's do."""
    (response,) = answered(model, a_request(stream=False))

    assert counts([response]) == [32]
    assert response.tensors["text_output"][0].decode().startswith(PROMPT)


def test_input_tokens_are_the_model_s_own_count(model):
    """Counted by the LLM's tokenizer."""
    responses = answered(model, a_request(return_num_input_tokens=True))

    assert {int(response.tensors["num_input_tokens"][0]) for response in responses} == {20}


def test_stamps_come_with_the_last_response_as_whole_nanoseconds(model):
    """In order, of the clock that the client reads too, to the microsecond."""
    before_ns = time.perf_counter_ns()
    *earlier, last = answered(model, a_request(return_perf_metrics=True))
    names = ("arrival", "first_scheduled", "first_token", "last_token")
    stamps = [int(last.tensors[f"{name}_time_ns"][0]) for name in names]

    assert all("arrival_time_ns" not in response.tensors for response in earlier)
    assert stamps == sorted(stamps)
    assert before_ns - 1000 <= stamps[0] < stamps[2] < stamps[3] <= time.perf_counter_ns()
    assert last.tensors["arrival_time_ns"].dtype == np.int64
    assert int(last.tensors["kv_cache_alloc_total_blocks"][0]) == 3


def test_what_nobody_asked_for_is_not_sent(model):
    """Text alone."""
    for response in answered(model, a_request(return_num_output_tokens=False)):
        assert set(response.tensors) == {"text_output"}


def test_every_tensor_sent_is_declared():
    """Triton drops what the configuration does not name: names and types are its own."""
    declared = {tensor.name for tensor in tensors.OUTPUTS[tensors.LLMAPI]}

    assert set(llmapi._STAMPS) | set(llmapi._BLOCKS) <= declared
    assert {"text_output", "num_input_tokens", "num_output_tokens"} <= declared


def test_a_client_that_has_gone_aborts_its_request(model):
    """The LLM is told to stop, nothing more is sent, the request is forgotten."""
    request = a_request(max_tokens=5000)
    model.execute([request])
    eventually(lambda: request.sender.sent)
    request.sender.cancelled = True

    eventually(lambda: request.sender.finished and not model._running)
    eventually(lambda: "abort after" in model.log.read_text())
    assert len(request.sender.responses) < 5000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text_input": ""}, "text_input: got no text"),
        ({"max_tokens": 0}, "max_tokens: got 0"),
        ({"temperature": -1.0}, "require temperature >= 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_read_is_refused_at_once(model, given, message):
    """An error of the client's, naming the tensor."""
    (response,) = answered(model, a_request(**given))

    assert message in str(response.error)
    assert response.error.code == TritonError.INVALID_ARG


def test_two_prompts_in_one_request_are_refused(model):
    """One prompt a request: the LLM batches by itself."""
    request = a_request()
    request._arrays["text_input"] = np.array([b"a", b"b"], dtype=object)

    (response,) = answered(model, request)
    assert "got 2 prompts" in str(response.error)


def test_what_the_llm_refuses_reaches_the_client(model):
    """A prompt that is too long for it: its own words, and the next request is served."""
    (response,) = answered(model, a_request(text_input=" ba" * 2000))

    assert "RequestError: prompt length exceeds max_input_len" in str(response.error)
    eventually(lambda: not model._running)
    assert sum(counts(answered(model, a_request()))) == 12


def test_many_requests_at_once_are_all_answered(model):
    """No token lost or doubled among forty streams."""
    requests = [a_request(seed=number) for number in range(40)]
    model.execute(requests)

    eventually(lambda: all(request.sender.finished for request in requests))
    assert {sum(counts(request.sender.responses)) for request in requests} == {12}


def test_the_cache_is_pinned_when_the_model_is_loaded(model):
    """In tokens, as the point says; and no job of MPI's is joined."""
    assert "loaded with kv tokens 4096" in model.log.read_text()
    assert model._llm.arguments["kv_cache_config"].enable_block_reuse is False


def test_what_mpirun_left_behind_is_forgotten_a_permission_is_not(model):
    """The LLM's own workers would else join a job that is not theirs."""
    assert not set(LEFT_BY_MPIRUN) & set(model.environment)
    assert model.environment["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


def test_every_way_to_sample_arrives():
    """Under the name of the LLM API; what is not given is left to its default."""
    given = {"temperature": 0.5, "top_k": 40, "top_p": 0.25, "seed": 7, "min_tokens": 3}
    asked = {"text_input": PROMPT, "max_tokens": 12}

    sampled, plain = (
        llmapi.Ask({name: row(value) for name, value in (asked | more).items()}).sampling
        for more in (given, {})
    )

    assert {name: sampled[name] for name in given} == given
    assert not set(given) & set(plain)


def test_requests_that_wait_for_the_whole_batch_are_asked_for(tmp_path):
    """V1 batching is a policy of the scheduler there."""
    serving = ServingSpec(kv_cache_tokens=1, batching=BatchingStrategy.STATIC)
    arguments = llm_arguments(a_point().engine, serving, checkpoint=tmp_path, version="1.2.1")

    assert arguments["scheduler_config"] == {"capacity_scheduler_policy": "STATIC_BATCH"}


@pytest.mark.parametrize("precision", list(Precision), ids=str)
@pytest.mark.parametrize("policy", list(SchedulerPolicy), ids=str)
def test_arguments_follow_the_point(precision, policy, tmp_path):
    """Sizes, precision, cache and policy: each under upstream's own name."""
    point = a_point(precision=precision)
    serving = ServingSpec(kv_cache_tokens=777, scheduler_policy=policy, chunked_context=True)

    arguments = llm_arguments(point.engine, serving, checkpoint=tmp_path, version="1.2.1")

    assert arguments == {
        "model": str(tmp_path),
        "backend": "pytorch",
        "dtype": "auto" if precision is Precision.FP8 else "float16",
        "tensor_parallel_size": 1,
        "max_batch_size": 192,
        "max_input_len": 1536,
        "max_seq_len": 2048,
        "max_num_tokens": 8192,
        "max_beam_width": 1,
        "enable_chunked_prefill": True,
        "return_perf_metrics": True,
        "kv_cache_config": {
            "max_tokens": 777,
            "enable_block_reuse": False,
            "dtype": "fp8" if precision is Precision.FP8 else "auto",
            "tokens_per_block": 32,
        },
        "scheduler_config": {"capacity_scheduler_policy": policy.name},
    }


def test_an_older_version_is_not_asked_what_it_lacks(tmp_path):
    """LLM of 1.0 and 1.1 has no `return_perf_metrics`."""
    arguments = llm_arguments(
        a_point().engine, ServingSpec(kv_cache_tokens=1), checkpoint=tmp_path, version="1.1.0"
    )

    assert "return_perf_metrics" not in arguments
