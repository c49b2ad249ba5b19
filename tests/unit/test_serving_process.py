"""From an engine to a server: rendered, booted, and booted again if a port was taken."""

from contextlib import ExitStack

import pytest

from perfgate.errors import ServerError
from perfgate.serving import process
from perfgate.serving.launch import PortTakenError
from perfgate.serving.process import start

pytestmark = pytest.mark.unit


class Runs:
    """Stands for `run`: fails as often as told, then yields what it was given."""

    def __init__(self, failures, error=PortTakenError):
        self.failures, self.error, self.launched = failures, error, []

    def __call__(self, launch, *, ready_timeout_s):  # noqa: ARG002 - the signature is run's
        """Remember the launch and fail, or hand it over."""
        self.launched.append(launch)
        if len(self.launched) <= self.failures:
            raise self.error("in use")
        return self

    def __enter__(self):
        """The server: the launch that worked."""
        return self.launched[-1]

    def __exit__(self, *_):
        """Nothing to stop."""


def attempt(monkeypatch, runs):
    """Start with a plan that gives another number each time."""
    monkeypatch.setattr(process, "run", runs)
    numbers = iter(range(10))
    with ExitStack() as stack:
        return start(stack, lambda: next(numbers), ready_timeout_s=1)


def test_a_taken_port_is_answered_with_another_plan(monkeypatch):
    """New ports, new try."""
    runs = Runs(failures=2)

    assert attempt(monkeypatch, runs) == 2
    assert runs.launched == [0, 1, 2]


def test_ports_that_are_taken_again_and_again_are_an_error(monkeypatch):
    """Three tries, then whoever holds them must be looked for."""
    runs = Runs(failures=9)

    with pytest.raises(PortTakenError):
        attempt(monkeypatch, runs)
    assert len(runs.launched) == 3


def test_any_other_failure_is_not_tried_again(monkeypatch):
    """A model that cannot be loaded will not load the second time."""
    runs = Runs(failures=9, error=ServerError)

    with pytest.raises(ServerError):
        attempt(monkeypatch, runs)
    assert len(runs.launched) == 1
