"""The answer to one request: its tokens as Triton responses, one each or all at the end."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from perfgate.model import ServerTimings
from perfgate.serving.simulated.asks import Ask
from perfgate.sim.scheduler import Emission

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class Reply:
    """Answers one request as its asker wants it answered.

    `take` and `finish` belong to the engine's thread. They return what is to be sent, as a call
    that may run on any thread, in the order returned. As TensorRT-LLM's backend does: without
    streaming the prompt comes back before the output, unless it is excluded;
    `num_output_tokens` counts the tokens of this response; performance metrics come with the final
    response only.
    """

    def __init__(self, ask: Ask, sender: Any, tokens_per_block: int) -> None:
        self.ask = ask
        self.output_tokens = 0
        self._sender = sender
        self._tokens_per_block = tokens_per_block
        self._held = () if ask.streaming or ask.exclude_input else ask.prompt
        self._closed = False
        self._lock = threading.Lock()  # a cancellation may close the reply amidst an iteration

    def take(self, emission: Emission) -> Callable[[], None] | None:
        """Take the tokens of an iteration that is not the last; None if they wait for the end."""
        self.output_tokens += len(emission.tokens)
        if self.ask.streaming:
            return functools.partial(self._send, emission.tokens)
        self._held += emission.tokens
        return None

    def finish(self, emission: Emission, timings: ServerTimings) -> Callable[[], None]:
        """Take the last tokens, possibly none."""
        self.output_tokens += len(emission.tokens)
        return functools.partial(self._send, self._held + emission.tokens, timings)

    def close_if_cancelled(self) -> bool:
        """Close without a word if the asker has gone; whether that was so."""
        with self._lock:
            # Triton forgets a request with its final response and may not be asked of it again.
            if self._closed or not self._sender.is_cancelled():
                return False
            self._closed = True
            self._sender.send(flags=_FINAL)
            return True

    def _send(self, tokens: tuple[int, ...], timings: ServerTimings | None = None) -> None:
        """Send a response, the final one if it has timings."""
        response = self._response(tokens, timings)
        with self._lock:
            if not self._closed:
                self._closed = timings is not None
                self._sender.send(response, flags=_FINAL if timings else 0)

    def _response(self, tokens: tuple[int, ...], timings: ServerTimings | None) -> Any:
        ask, count = self.ask, np.array([[len(tokens)]], dtype=np.int32)
        tensors = [
            pb_utils.Tensor("output_ids", np.array([[tokens]], dtype=np.int32)),
            pb_utils.Tensor("sequence_length", count),
        ]
        if ask.count_output:
            tensors.append(pb_utils.Tensor("num_output_tokens", count))
        if ask.count_input:
            tensors.append(_int("num_input_tokens", ask.request.prompt_tokens))
        if ask.perf_metrics and timings:
            tensors += self._perf_metrics(timings)
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _perf_metrics(self, timings: ServerTimings) -> list[Any]:
        # The last token is never cached: no iteration reads it.
        cached = self.ask.request.prompt_tokens + self.output_tokens - 1
        blocks = -(-cached // self._tokens_per_block)
        return [
            _int("arrival_time_ns", timings.arrival_ns, np.int64),
            _int("first_scheduled_time_ns", timings.first_scheduled_ns, np.int64),
            _int("first_token_time_ns", timings.first_token_ns, np.int64),
            _int("last_token_time_ns", timings.last_token_ns, np.int64),
            _int("kv_cache_alloc_new_blocks", blocks),
            _int("kv_cache_reused_blocks", 0),
            _int("kv_cache_alloc_total_blocks", blocks),
        ]


def refuse(sender: Any, reason: str) -> None:
    """Answer with an error that says what was wrong with the request."""
    error = pb_utils.TritonError(reason, pb_utils.TritonError.INVALID_ARG)
    sender.send(pb_utils.InferenceResponse(error=error), flags=_FINAL)


def _int(name: str, value: int, kind: type[np.integer[Any]] = np.int32) -> Any:
    return pb_utils.Tensor(name, np.array([[value]], dtype=kind))
