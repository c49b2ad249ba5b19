"""What is sent: every request of a load, scheduled and serialised before the clock starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfgate.errors import LoadError
from perfgate.model import Sampling, Workload
from perfgate.traffic.schedule import (
    Schedule,
    first_request,
    positions_needed,
    ramp_requests,
)

_RAMP_SLACK = 2  # what early finishers of the ramp go on with, and one spare
_END_WAVES = 2  # in flight when the last round ends, and sent until the load is stopped


def prompts_needed(workload: Workload, sampling: Sampling) -> int:
    """Return how many unique prompts a load uses up: ramp, rounds, and slack at the end."""
    rounds = sampling.most_rounds * sampling.round_requests
    if workload.arrivals is not None:
        return positions_needed(workload, ramp_requests(workload, sampling) + rounds)
    waves = sampling.ramp + _RAMP_SLACK + _END_WAVES - 1  # one more is in flight
    return positions_needed(workload, waves * workload.concurrency + rounds)


def requests_planned(workload: Workload, prompts: int) -> int:
    """Return how many of `prompts` unique prompts are for ramp and rounds, not slack.

    The inverse of `prompts_needed`, for the end of a progress bar.
    """
    if workload.arrivals is not None:
        return max(1, prompts - workload.concurrency)
    waves = _RAMP_SLACK + _END_WAVES - 1
    slack = positions_needed(workload, waves * workload.concurrency)
    return max(workload.concurrency, prompts - slack)


def plan_requests(
    workload: Workload,
    schedule: Schedule,
    prompts: Sequence[str],
    serialise: Callable[..., bytes],
) -> list[bytes]:
    """Serialise the schedule's requests, each with its prompt, in order of use.

    `serialise` is that of a `Dialect`.

    Raises LoadError if prompts are too few or not unique.
    """
    if len(prompts) < workload.concurrency and workload.arrivals is None:
        msg = f"{len(prompts)} prompts for {workload.concurrency} clients: each needs one at least"
        raise LoadError(msg)
    if len(set(prompts)) < len(prompts):
        msg = (
            f"{len(prompts) - len(set(prompts))} of {len(prompts)} prompts are repeated: the server"
            " may answer them from its KV cache. Draw unique prompts."
        )
        raise LoadError(msg)
    # Of the ramp's requests only: a tensor more with each token would load the server.
    counted = {first_request(workload, client) for client in range(workload.concurrency)}
    return [
        serialise(index=index, prompt=prompt, output_tokens=length, count_input=index in counted)
        for index, (prompt, length) in enumerate(zip(prompts, schedule.osl, strict=True))
    ]
