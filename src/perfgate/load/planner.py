"""What is sent: every request of a load, staggered and serialised before the clock starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfgate.errors import LoadError
from perfgate.model import Sampling, Workload

_RAMP_SLACK = 2  # what early finishers of the ramp go on with, and one spare
_END_WAVES = 2  # in flight when the last round ends, and sent until the load is stopped


def prompts_needed(workload: Workload, sampling: Sampling) -> int:
    """Return how many unique prompts a load uses up: ramp, rounds, and slack at the end."""
    ramp = (sampling.ramp + _RAMP_SLACK) * workload.concurrency
    rounds = sampling.rounds * sampling.round_requests
    return ramp + rounds + _END_WAVES * workload.concurrency


def requests_planned(workload: Workload, prompts: int) -> int:
    """Return how many of `prompts` unique prompts are for ramp and rounds, not slack.

    The inverse of `prompts_needed`, for the end of a progress bar.
    """
    slack = (_RAMP_SLACK + _END_WAVES) * workload.concurrency
    return max(workload.concurrency, prompts - slack)


def output_lengths(workload: Workload, requests: int) -> tuple[int, ...]:
    """Return how many output tokens each request asks for.

    All clients start at once. If their requests were equally long they would also end at once,
    for ever. So client k's first request asks for a share (k + 1) / concurrency of the output
    length: completions then spread evenly over one request latency, however long that is.
    """
    shares = range(1, min(workload.concurrency, requests) + 1)
    firsts = (max(1, round(workload.osl * share / workload.concurrency)) for share in shares)
    return (*firsts, *[workload.osl] * (requests - len(shares)))


def plan_requests(
    workload: Workload, prompts: Sequence[str], serialise: Callable[..., bytes]
) -> list[bytes]:
    """Serialise one request for each prompt, in order of use; see `Dialect.serialise`.

    Raises LoadError if prompts are too few or not unique.
    """
    if len(prompts) < workload.concurrency:
        msg = f"{len(prompts)} prompts for {workload.concurrency} clients: each needs one at least"
        raise LoadError(msg)
    if len(set(prompts)) < len(prompts):
        msg = (
            f"{len(prompts) - len(set(prompts))} of {len(prompts)} prompts are repeated: the server"
            " may answer them from its KV cache. Draw unique prompts."
        )
        raise LoadError(msg)
    lengths = output_lengths(workload, len(prompts))
    return [
        serialise(
            index=index,
            prompt=prompt,
            output_tokens=length,
            # Of the ramp's requests only: a tensor more with each token would load the server.
            count_input=index < workload.concurrency,
        )
        for index, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))
    ]
