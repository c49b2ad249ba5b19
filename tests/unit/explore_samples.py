"""A search space with round numbers, and a target whose best settings are known."""

from dataclasses import replace

from perfgate.errors import UsageError
from perfgate.explore.space import Space
from perfgate.explore.trials import Goal, Outcome, Trial
from perfgate.model import BatchingStrategy, Precision
from perfgate.suite import load_suite
from tests.unit.sim_samples import ROOT, gb10

GOAL = Goal(ceiling_p95_s=7.0, max_p95_over_p50=1.1)


START = load_suite(ROOT).point("fp8-b192-c160")
SPACE = Space(start=START, profile=gb10())


def a_start():
    """The point of the field report's last phase."""
    return START


def a_space(**changes):
    """All candidates around that point on a GB10."""
    return replace(SPACE, **changes)


def some_settings(**changes):
    """The starting point's own settings, changed."""
    return replace(SPACE.settings_of(START), **changes)


def an_outcome(throughput=3000.0, p95=6.5, p50=None):
    """What a candidate reaches; flat unless said otherwise."""
    return Outcome(throughput_tok_s=throughput, latency_p50_s=p50 or p95, latency_p95_s=p95)


def a_trial(number=0, throughput=3000.0, p95=6.5, **changes):
    """A tried candidate."""
    trial = {"settings": some_settings(), "outcome": an_outcome(throughput, p95)}
    return Trial(number=number, **trial | changes)


def toy(settings):
    """A target that is known: 20 tok/s a client, and a latency that grows with the clients.

    FP8 halves the latency, in-flight batching halves it again; a batch below the clients makes
    them wait. The best under 7 s is in-flight FP8 with 140 clients and as many slots.
    """
    if settings.tokens_per_block == 128:
        raise UsageError("tokens_per_block", 128, "this target does not build that")
    seconds = 0.05 * settings.concurrency
    seconds *= 2 if settings.precision is Precision.FP16 else 1
    seconds *= 2 if settings.batching is BatchingStrategy.STATIC else 1
    seconds *= max(settings.concurrency / settings.max_batch_size, 1)
    return Outcome(
        throughput_tok_s=20.0 * min(settings.concurrency, settings.max_batch_size),
        latency_p50_s=seconds,
        latency_p95_s=seconds,
    )
