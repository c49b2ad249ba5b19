"""A real Triton with a small simulated engine, booted once, and a client to ask it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from perfgate.engines.build import build
from perfgate.hardware import load_profile
from perfgate.model import EngineSpec, Precision, ServingSpec, Target
from perfgate.serving.process import serve
from tests.triton.wire import Client

ROOT = Path(__file__).parents[2]
SPEC = EngineSpec(
    model="llm-7b",
    precision=Precision.FP8,
    max_batch_size=16,
    max_input_len=1536,
    max_seq_len=2048,
    max_num_tokens=8192,
)
SERVING = ServingSpec(kv_cache_tokens=65536)


class Silent:
    """An observer that shows nothing."""

    def begin(self, what):
        """Nothing to show."""

    def advance(self, done, total):
        """Nothing to show."""

    def end(self):
        """Nothing to show."""


@pytest.fixture(scope="session", autouse=True)
def in_the_foreground():
    """A shell starts background jobs with SIGINT ignored; what tests start must hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """A simulated FP8 engine for 16 requests at a time: an iteration takes about 30 ms."""
    return build(
        SPEC,
        target=Target.SIM,
        profile=load_profile(ROOT / "hardware" / "gb10.toml"),
        cache=tmp_path_factory.mktemp("engines"),
    )


@pytest.fixture(scope="session")
def server(engine, tmp_path_factory):
    """The server that all tests share; they must leave it idle."""
    with serve(engine, SERVING, workdir=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server):
    """A gRPC client of that server."""
    with Client(server.grpc_url) as client:
        yield client
