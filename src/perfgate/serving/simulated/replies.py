"""The answer to one request: its tokens as Triton responses, one each or all at the end."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from perfgate.model import ServerTimings
from perfgate.serving.simulated.asks import Ask

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class Reply:
    """Sends the tokens of one request as its asker wants them.

    As TensorRT-LLM's backend does: without streaming the prompt comes back before the output,
    unless it is excluded, and `num_output_tokens` counts the tokens of this response; performance
    metrics come with the final response only.
    """

    def __init__(self, ask: Ask, sender: Any, tokens_per_block: int) -> None:
        self.ask = ask
        self.output_tokens = 0
        self._sender = sender
        self._tokens_per_block = tokens_per_block
        self._held = () if ask.streaming or ask.exclude_input else ask.prompt
        self._closed = False
        self._lock = threading.Lock()  # a cancellation may close the reply amidst an iteration

    def take(self, tokens: tuple[int, ...]) -> None:
        """Take the tokens of an iteration that is not the last."""
        self.output_tokens += len(tokens)
        if self.ask.streaming:
            self._send(_response(self.ask, tokens), 0)
        else:
            self._held += tokens

    def finish(self, tokens: tuple[int, ...], timings: ServerTimings) -> None:
        """Take the last tokens, possibly none, and close."""
        self.output_tokens += len(tokens)
        extra = []
        if self.ask.perf_metrics:
            cached = self.ask.request.prompt_tokens + self.output_tokens - 1
            extra = _perf_metrics(timings, -(-cached // self._tokens_per_block))
        self._send(_response(self.ask, self._held + tokens, extra), _FINAL)

    def close_if_cancelled(self) -> bool:
        """Close without a word if the asker has gone; whether that was so."""
        if not self._sender.is_cancelled():
            return False
        self._send(None, _FINAL)
        return True

    def _send(self, response: Any, flags: int) -> None:
        with self._lock:
            if not self._closed:
                self._closed = flags == _FINAL
                if response is None:
                    self._sender.send(flags=flags)
                else:
                    self._sender.send(response, flags)


def refuse(sender: Any, reason: str) -> None:
    """Answer with an error that says what was wrong with the request."""
    error = pb_utils.TritonError(reason, pb_utils.TritonError.INVALID_ARG)
    sender.send(pb_utils.InferenceResponse(error=error), flags=_FINAL)


def _response(ask: Ask, tokens: tuple[int, ...], extra: list[Any] | None = None) -> Any:
    count = np.array([[len(tokens)]], dtype=np.int32)
    tensors = [
        pb_utils.Tensor("output_ids", np.array([[tokens]], dtype=np.int32)),
        pb_utils.Tensor("sequence_length", count),
        *(extra or ()),
    ]
    if ask.count_output:
        tensors.append(pb_utils.Tensor("num_output_tokens", count))
    if ask.count_input:
        tensors.append(_int("num_input_tokens", ask.request.prompt_tokens))
    return pb_utils.InferenceResponse(output_tensors=tensors)


def _perf_metrics(timings: ServerTimings, blocks: int) -> list[Any]:
    return [
        _int("arrival_time_ns", timings.arrival_ns, np.int64),
        _int("first_scheduled_time_ns", timings.first_scheduled_ns, np.int64),
        _int("first_token_time_ns", timings.first_token_ns, np.int64),
        _int("last_token_time_ns", timings.last_token_ns, np.int64),
        _int("kv_cache_alloc_new_blocks", blocks),
        _int("kv_cache_reused_blocks", 0),
        _int("kv_cache_alloc_total_blocks", blocks),
    ]


def _int(name: str, value: int, kind: type[np.integer[Any]] = np.int32) -> Any:
    return pb_utils.Tensor(name, np.array([[value]], dtype=kind))
