"""The target that stays up: it serves, keeps its clients busy, and ends when told to."""

import signal
from contextlib import contextmanager

import pytest

from perfgate import keep_serving as module
from perfgate.errors import ServerError, UsageError
from perfgate.hardware import load_profile
from perfgate.mock_server import MockServer, Script
from perfgate.model import RequestStatus, Target
from perfgate.serving.command import Ports
from perfgate.setting import Setting
from perfgate.suite import load_suite
from tests.unit.factories import a_point
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

PORTS = Ports(http=8000, grpc=8001, metrics=8002)


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """A simulated setting whose engines are built in a temporary folder."""
    monkeypatch.setattr(Setting, "cache", property(lambda _: tmp_path))
    return Setting(
        suite=load_suite(ROOT),
        target=Target.SIM,
        profile=load_profile(ROOT / "hardware" / "gb10.toml"),
        artifacts=tmp_path,
    )


@pytest.fixture(autouse=True)
def in_the_foreground():
    """A shell starts background jobs with SIGINT ignored, and these tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def booted(monkeypatch):
    """Stands for Triton: a mocked server that answers at once; a list of what was asked of it."""
    asked = []

    @contextmanager
    def serve(_engine, _serving, *, workdir, ports):
        asked.append((workdir, ports))
        try:
            with MockServer(Script(input_tokens=128)) as mock:
                asked.append(mock)
                yield mock.server
        finally:
            asked.append("stopped")

    monkeypatch.setattr(module, "serve", serve)
    return asked


def stops_at_the_second_look(monkeypatch, name):
    """Let the signal come while the server is looked at for the second time."""
    looks = []

    def scrape(_url):
        looks.append(1)
        if len(looks) == 2:
            signal.raise_signal(name)
        assert len(looks) < 1000, "the signal was not heard"

    monkeypatch.setattr(module, "scrape", scrape)
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM], ids=lambda name: name.name)
def test_it_serves_until_told_to_stop(setting, booted, monkeypatch, name):
    """Ctrl-C and SIGTERM both end it without an error, the server stopped, its folder gone."""
    told = []
    stops_at_the_second_look(monkeypatch, name)
    module.keep_serving(a_point(), setting, ports=PORTS, concurrency=0, tell=told.append)

    folder, ports = booted[0]
    assert ports == PORTS
    assert told == [booted[1].server]
    assert booted[-1] == "stopped"
    assert not folder.exists()


@pytest.mark.usefixtures("booted")
def test_a_signal_afterwards_does_what_it_did_before(setting, monkeypatch):
    """Whoever calls it gets their own SIGTERM handler back."""
    stops_at_the_second_look(monkeypatch, signal.SIGTERM)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        module.keep_serving(a_point(), setting, ports=PORTS, concurrency=0, tell=lambda _: None)

        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_its_clients_never_run_out_of_work(setting, booted, monkeypatch):
    """After one load comes the next, with other prompts, until the signal."""
    seeds = []
    planned = module.prompts

    def plan(*given, seed, **more):
        seeds.append(seed)
        if len(seeds) == 3:
            signal.raise_signal(signal.SIGTERM)
        return planned(*given, seed=seed, **more)

    monkeypatch.setattr(module, "_WAVES", 1)
    monkeypatch.setattr(module, "prompts", plan)
    module.keep_serving(a_point(), setting, ports=PORTS, concurrency=2, tell=lambda _: None)

    served = booted[1].prompts
    assert seeds == [0, 1, 2]
    assert len(set(served)) == len(served) >= 2 * (2 + 2)
    assert booted[-1] == "stopped"


def test_no_request_is_broken_off(setting, booted, monkeypatch):
    """Between two loads every request is answered: the server would count it as failed, or die."""
    answered, planned = [], module.prompts

    class Watched(module.RunningLoad):
        def finish(self):
            outcome = super().finish()
            answered.extend(
                record for record in outcome.records if record.status is RequestStatus.OK
            )
            return outcome

    def plan(*given, seed, **more):
        if seed == 2:
            signal.raise_signal(signal.SIGTERM)
        return planned(*given, seed=seed, **more)

    monkeypatch.setattr(module, "_WAVES", 1)
    monkeypatch.setattr(module, "RunningLoad", Watched)
    monkeypatch.setattr(module, "prompts", plan)
    module.keep_serving(a_point(), setting, ports=PORTS, concurrency=2, tell=lambda _: None)

    assert len(answered) == len(booted[1].prompts) >= 2 * (2 + 2)


@pytest.mark.usefixtures("booted")
def test_a_server_that_died_is_noticed(setting, monkeypatch):
    """It does not wait for ever beside a dead server."""

    def scrape(_url):
        raise ServerError("no metrics")

    monkeypatch.setattr(module, "scrape", scrape)

    with pytest.raises(ServerError, match="no metrics"):
        module.keep_serving(a_point(), setting, ports=PORTS, concurrency=0, tell=lambda _: None)


def test_one_port_is_not_two():
    """Ports that coincide are refused before anything boots."""
    with pytest.raises(UsageError, match="each need one of their own"):
        Ports(http=8000, grpc=8000, metrics=8002)
