"""How a mocked server answers: its pace, and what goes wrong on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

INPUTS = {
    "text_input": "BYTES",
    "max_tokens": "INT32",
    "stream": "BOOL",
    "end_id": "INT32",
    "min_tokens": "INT32",
    "exclude_input_in_output": "BOOL",
    "return_num_input_tokens": "BOOL",
    "return_num_output_tokens": "BOOL",
    "return_perf_metrics": "BOOL",
}
TIMINGS = (
    "arrival_time_ns",
    "first_scheduled_time_ns",
    "first_token_time_ns",
    "last_token_time_ns",
)
COMPLETION_FIELDS = ("min_tokens", "ignore_eos", "continuous_usage_stats")


class Misbehaviour(StrEnum):
    """What goes wrong with an answer, on purpose."""

    LATE = "late"  # one token long after the others
    TRUNCATED = "truncated"  # the stream is closed half way
    DUPLICATED = "duplicated"  # one message twice
    REORDERED = "reordered"  # the final response before the last token
    HUNG = "hung"  # silence half way, until the client gives up
    RESET = "reset"  # the stream fails half way
    OUT_OF_MEMORY = "out of memory"  # an error message instead of an answer
    WRONG_LENGTH = "wrong length"  # an orderly end, one token early
    CUMULATIVE = "cumulative"  # counts of all tokens so far
    REFUSED = "refused"  # over HTTP: a status instead of a stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the mocked server answers: pacing in seconds, and what goes wrong with which request.

    `misbehaviour` befalls each request whose number (in order of arrival, from 0) is at least
    `after` and, if `times` is given, no more than that many of them. `completion_fields` are what
    it says it takes beyond OpenAI's own interface, `usage` whether it counts tokens there. Over
    HTTP a connection is closed after `answers_per_connection`, of which its head tells unless
    `closes_silently`.
    """

    ttft_s: float = 0.001
    itl_s: float = 0.0005
    late_s: float = 0.05
    input_tokens: int = 8
    tokens_per_message: int = 1
    misbehaviour: Misbehaviour | None = None
    after: int = 0
    times: int | None = None
    inputs: tuple[str, ...] = tuple(INPUTS)
    models: tuple[str, ...] = ("ensemble",)
    completion_fields: tuple[str, ...] = COMPLETION_FIELDS
    usage: bool = True
    answers_per_connection: int | None = None
    closes_silently: bool = False

    def befalls(self, number: int) -> Misbehaviour | None:
        """Return what goes wrong with request `number`, if anything."""
        last = None if self.times is None else self.after + self.times
        hit = number >= self.after and (last is None or number < last)
        return self.misbehaviour if hit else None
