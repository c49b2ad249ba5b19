"""A server that somebody else started: found by its URL, asked what it has, left alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate import recorded
from perfgate import rig as rig_module
from perfgate.against_base import against_base
from perfgate.errors import ServerError, UsageError
from perfgate.gate import pairing
from perfgate.load.tensors import fetch_inputs
from perfgate.mock_server import MockServer, Script
from perfgate.model import PairedPolicy, Protocol, Sampling, Target, Verdict, Workload
from perfgate.rig import Rig
from perfgate.serving.remote import discover, parse_url
from perfgate.setting import settle
from perfgate.suite import load_suite
from tests.unit.hardware_samples import lay_out_suite
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

PORTS = st.integers(1, 65535)


@given(
    host=st.sampled_from(["gb10", "10.0.0.7", "staging.example.com", "[::1]"]),
    grpc=PORTS,
    http=PORTS,
    metrics=PORTS,
    scheme=st.sampled_from(["", "grpc://"]),
)
def test_every_port_is_where_the_url_says(host, grpc, http, metrics, scheme):
    """GRPC in the address, the others behind it."""
    server = parse_url(f"{scheme}{host}:{grpc}?http={http}&metrics={metrics}&model=mine")

    assert server.grpc_url == f"{host}:{grpc}"
    assert server.http_url == f"http://{host}:{http}"
    assert server.metrics_url == f"http://{host}:{metrics}/metrics"
    assert server.model == "mine"
    assert not server.simulated


def test_ports_that_are_not_named_are_triton_s_own():
    """8000 for HTTP, 8002 for metrics."""
    server = parse_url("grpc://staging:8001")

    assert (server.http_url, server.metrics_url) == (
        "http://staging:8000",
        "http://staging:8002/metrics",
    )


@pytest.mark.parametrize(
    ("url", "protocol", "metrics"),
    [
        ("staging:8001", Protocol.GRPC, "http://staging:8002/metrics"),
        ("grpc://staging:8001", Protocol.GRPC, "http://staging:8002/metrics"),
        ("http://staging:8000", Protocol.HTTP, "http://staging:8002/metrics"),
        ("openai+http://staging:9000", Protocol.OPENAI, "http://staging:9000/metrics"),
        ("openai+http://staging:9000?metrics=1", Protocol.OPENAI, "http://staging:1/metrics"),
    ],
)
def test_the_scheme_says_how_the_server_is_asked(url, protocol, metrics):
    """An OpenAI-compatible server shows its metrics at its only port."""
    server = parse_url(url)

    assert (server.protocol, server.metrics_url) == (protocol, metrics)
    assert bool(server.grpc_url) is (protocol is Protocol.GRPC)


@pytest.mark.parametrize(
    "url",
    [
        "staging",
        "https://staging:8000",
        "openai://staging:8000",
        "http://staging",
        "http://staging:8000?http=8000",
        "openai+http://staging:8000/v1",
        "grpc://staging",
        "grpc://:8001",
        "grpc://staging:port",
        "grpc://staging:99999",
        "grpc://staging:8001/v2",
        "grpc://staging:8001?metric=8002",
        "grpc://staging:8001?metrics=many",
        "",
    ],
)
def test_anything_else_is_refused_with_the_form(url):
    """Before anybody is asked."""
    with pytest.raises(UsageError, match=r"--triton-url.*write grpc://HOST:PORT"):
        parse_url(url)


@pytest.mark.parametrize(
    ("models", "asked", "found"),
    [
        (("ensemble", "tensorrt_llm"), "", "ensemble"),
        (("tensorrt_llm",), "", "tensorrt_llm"),
        (("ensemble", "mine"), "?model=mine", "mine"),
    ],
    ids=["an ensemble", "the LLM API", "by name"],
)
def test_the_model_is_found_by_asking(models, asked, found):
    """The ensemble if it is there, the LLM API's model otherwise, or the one that was named."""
    with MockServer(Script(models=models)) as mock:
        for url in (f"grpc://{mock.server.grpc_url}", mock.server.http_url):
            assert discover(parse_url(f"{url}{asked}")).model == found


@pytest.mark.parametrize(
    ("models", "asked", "found"),
    [(("llama",), "", "llama"), (("llama", "qwen"), "?model=qwen", "qwen")],
    ids=["the only one", "by name"],
)
def test_an_openai_compatible_server_lists_its_models(models, asked, found):
    """One needs no name."""
    with MockServer(Script(models=models)) as mock:
        assert discover(parse_url(f"openai+{mock.server.http_url}{asked}")).model == found


@pytest.mark.parametrize(
    ("models", "asked", "words"),
    [
        (("llama", "qwen"), "", "serves llama, qwen, and none of them was asked for"),
        (("llama",), "?model=x", "serves llama, and x was asked for"),
        ((), "", "serves no model"),
    ],
)
def test_a_model_that_cannot_be_told_is_asked_for(models, asked, words):
    """With what there is, and how to name it."""
    with (
        MockServer(Script(models=models)) as mock,
        pytest.raises(ServerError, match=rf"{words}.*\?model=NAME"),
    ):
        discover(parse_url(f"openai+{mock.server.http_url}{asked}"))


def test_tensors_the_server_lacks_are_not_sent():
    """What the model's metadata does not name stays out of every request."""
    few = ("text_input", "max_tokens", "stream", "return_num_output_tokens", "min_tokens")
    with MockServer(Script(inputs=few)) as mock:
        server = discover(parse_url(mock.server.grpc_url))
        sent = [tensor.name for tensor in fetch_inputs(server.grpc_url, server.model).tensors]

    assert sorted(sent) == sorted(few)


def test_a_server_without_a_model_of_ours_says_what_was_looked_for():
    """And how to name another one."""
    with (
        MockServer(Script(models=("resnet",))) as mock,
        pytest.raises(ServerError, match=r"no model ensemble or tensorrt_llm.*\?model=NAME"),
    ):
        discover(parse_url(mock.server.grpc_url))
    with (
        MockServer(Script(models=("resnet",))) as mock,
        pytest.raises(ServerError, match=r"no model ensemble or tensorrt_llm.*\?model=NAME"),
    ):
        discover(parse_url(mock.server.http_url))


@pytest.mark.parametrize("scheme", ["grpc://", "http://", "openai+http://"])
def test_nobody_there_is_a_server_error(scheme):
    """With the address."""
    with pytest.raises(ServerError, match=r"no .* answers at .*127\.0\.0\.1:1"):
        discover(parse_url(f"{scheme}127.0.0.1:1"))


class Silent:
    """An observer that remembers the steps."""

    def __init__(self):
        self.steps = []

    def begin(self, what):
        """Keep the step's name."""
        self.steps.append(what)

    def advance(self, done, total):
        """Nothing to show."""

    def end(self):
        """Nothing to close."""


def small():
    """A load that a mocked server answers in a blink."""
    return replace(
        load_suite(ROOT).point("fp8-b16-c16"),
        workload=Workload(concurrency=2, isl=4, osl=8),
        sampling=Sampling(rounds=2, round_requests=4),
    )


@pytest.mark.parametrize("protocol", list(Protocol), ids=str)
def test_a_running_server_is_measured_and_left_running(tmp_path, monkeypatch, protocol):
    """Nothing is built or booted; metrics it does not show us are no error."""

    def forbidden(*_, **__):
        raise AssertionError("booted")

    monkeypatch.setattr(rig_module, "serve", forbidden)
    lay_out_suite(tmp_path)
    observer = Silent()
    with MockServer(Script(input_tokens=4)) as mock:
        url = {
            Protocol.GRPC: f"grpc://{mock.server.grpc_url}",
            Protocol.HTTP: mock.server.http_url,
            Protocol.OPENAI: f"openai+{mock.server.http_url}",
        }[protocol] + "?metrics=1"
        setting = settle(
            tmp_path, target="auto", url=url, require_hardware=False, artifacts=tmp_path / "a"
        )
        with Rig(setting, observer) as rig:
            measurement = rig.measure(small())

        assert discover(parse_url(mock.server.grpc_url))
    assert setting.target is Target.REMOTE
    over = measurement.fingerprint.identity.get("protocol", Protocol.GRPC)
    assert over == protocol
    assert (measurement.requests, measurement.fingerprint.target) == (8, Target.REMOTE)
    assert not [step for step in observer.steps if step.startswith(("boot", "build"))]
    assert not (tmp_path / ".perfgate").exists()


def test_two_running_servers_are_loaded_in_turn_and_compared(tmp_path, monkeypatch):
    """The slower one shows as such, no calibration is asked for, and no verdict is given."""
    lay_out_suite(tmp_path)
    # On a busy machine a load of milliseconds is vetoed, which is not what this is about.
    sound = recorded.measure
    monkeypatch.setattr(
        recorded, "measure", lambda *args, **kwargs: replace(sound(*args, **kwargs), vetoes=())
    )
    monkeypatch.setattr(pairing, "WINDOWS", 2)
    point = small()
    with MockServer(Script(itl_s=0.02)) as slow, MockServer(Script(itl_s=0.002)) as fast:
        urls = [f"grpc://{one.server.grpc_url}?metrics=1" for one in (slow, fast)]
        setting = settle(
            tmp_path, target="auto", url=urls[0], require_hardware=False, artifacts=tmp_path / "a"
        )
        paired = PairedPolicy(primary=(f"{point.id}:tpot_p50_s",))
        suite = replace(
            setting.suite, points=(point,), policy=replace(setting.suite.policy, paired=paired)
        )
        judgement = against_base(replace(setting, suite=suite), urls[1], Silent())

    assert judgement.verdict is Verdict.INCONCLUSIVE
    (told,) = [one for one in judgement.findings if one.check == "windows"]
    assert told.got > 0.02 > told.expected
    assert "4 windows: B C C B" in judgement.findings[0].message


def settled_at(folder, url):
    """The setting of a run against that URL."""
    lay_out_suite(folder)
    return settle(folder, target="auto", url=url, require_hardware=False, artifacts=folder / "a")


@pytest.mark.parametrize(
    ("query", "hardware", "claims"), [("", "gb10", 4), ("?hardware=h100", "h100", 0)]
)
def test_the_url_names_what_the_server_runs_on(tmp_path, query, hardware, claims):
    """Report and baselines go by it, and a claim holds on its own hardware alone."""
    setting = settled_at(tmp_path, f"grpc://staging:8001{query}")

    assert (setting.hardware, setting.profile.name) == (hardware, hardware)
    floors = [p for p in setting.suite.points if p.claim and p.claim.floor_tok_s]
    assert len(floors) == claims


@pytest.mark.parametrize("name", ["b200", "../hardware/gb10"])
def test_hardware_without_a_profile_is_refused(tmp_path, name):
    """With the ones there are; a name is no path."""
    with pytest.raises(UsageError, match=r"hardware.*must be a profile in .*gb10"):
        settled_at(tmp_path, f"grpc://staging:8001?hardware={name}")


def test_a_bad_url_stops_the_run_before_it_begins(tmp_path):
    """When the setting is settled."""
    lay_out_suite(tmp_path)

    with pytest.raises(UsageError, match="--triton-url"):
        settle(tmp_path, target="remote", url="staging", require_hardware=False, artifacts=tmp_path)
