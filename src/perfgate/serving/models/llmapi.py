"""TensorRT-LLM's LLM API as a Triton model that speaks the ensemble's tensors.

Text in, text out: a client of the ensemble needs no change. It adds to upstream's own model a fixed
output length (`end_id` below 0, or `ignore_eos`), exact token counts, and the engine's stamps as
integers. Needs numpy and TensorRT-LLM only, so it runs in any Triton container that has both.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
_SENDERS = 4
_CANCEL_PERIOD_S = 0.1
# Asking Triton whether a request was cancelled takes a message each: so many are asked a period.
_CANCEL_CHECKS = 16
_PATIENCE_S = 5.0
# What mpirun left behind would make LLM's own workers join a job that is not theirs.
_MPI_PREFIXES = ("OMPI_COMM_WORLD_", "OMPI_MCA_orte_", "PMIX_", "PMI_", "ORTE_")
_SAMPLING = ("temperature", "top_k", "top_p", "seed")
_STAMPS = {
    "arrival_time_ns": "arrival_time",
    "first_scheduled_time_ns": "first_scheduled_time",
    "first_token_time_ns": "first_token_time",
    "last_token_time_ns": "last_token_time",
}
_BLOCKS = {
    "kv_cache_alloc_new_blocks": "num_new_allocated_blocks",
    "kv_cache_reused_blocks": "num_reused_blocks",
    "kv_cache_alloc_total_blocks": "num_total_allocated_blocks",
}


class TritonPythonModel:
    """A decoupled model: `execute` takes requests in, a loop of its own answers them."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the LLM with the arguments that the configuration names."""
        parameters = json.loads(args["model_config"])["parameters"]
        arguments = json.loads(Path(parameters["llm_arguments"]["string_value"]).read_text())
        for name in [name for name in os.environ if name.startswith(_MPI_PREFIXES)]:
            del os.environ[name]
        self._running: dict[int, Answer] = {}
        self._count = 0
        self._queues: list[SimpleQueue[Callable[[], None] | None]] = [
            SimpleQueue() for _ in range(_SENDERS)
        ]
        self._stopped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._llm, self._sampling_params = _load(arguments)
        self._threads = [
            threading.Thread(target=self._loop.run_forever, name="llm", daemon=True),
            threading.Thread(target=self._watch, name="cancellation", daemon=True),
            *(threading.Thread(target=_send_all, args=(q,), daemon=True) for q in self._queues),
        ]
        for thread in self._threads:
            thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Submit each request; one that cannot be read is answered with the reason."""
        for request in requests:
            sender = request.get_response_sender()
            given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            try:
                ask = Ask(given)
                sampling = self._sampling_params(**ask.sampling)
            except (ValueError, TypeError) as error:
                _refuse(sender, str(error), pb_utils.TritonError.INVALID_ARG)
                continue
            self._count += 1
            answer = Answer(ask, sender, self._queues[self._count % _SENDERS].put)
            self._running[self._count] = answer
            work = self._answer(self._count, answer, sampling)
            asyncio.run_coroutine_threadsafe(work, self._loop)

    def finalize(self) -> None:
        """Stop the threads and the LLM, patiently."""
        self._stopped.set()
        self._llm.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        if not self._loop.is_running():
            self._loop.close()

    async def _answer(self, number: int, answer: Answer, sampling: Any) -> None:
        try:
            # By keyword: upstream's third positional argument is not the streaming flag.
            result = self._llm.generate_async(
                answer.ask.prompt, sampling_params=sampling, streaming=answer.ask.streaming
            )
            answer.abort = result.abort
            async for output in result:
                answer.take(output)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client is told
            answer.fail(f"{type(error).__name__}: {error}")
        finally:
            self._running.pop(number, None)

    def _watch(self) -> None:
        """Ask of some requests, in turn, whether the client has gone, and abort those."""
        last = 0
        while not self._stopped.wait(_CANCEL_PERIOD_S):
            numbers = sorted(self._running)
            after = [number for number in numbers if number > last]
            for number in (after + numbers[: len(numbers) - len(after)])[:_CANCEL_CHECKS]:
                last = number
                answer = self._running.get(number)
                if answer is not None and answer.close_if_cancelled():
                    self._running.pop(number, None)
                    self._loop.call_soon_threadsafe(answer.abort)


class Ask:
    """What a request asks: ValueError naming the tensor if it cannot be read."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.prompt = _text(given)
        self.streaming = _flag(given, "stream")
        self.exclude_input = _flag(given, "exclude_input_in_output")
        self.count_input = _flag(given, "return_num_input_tokens")
        self.count_output = _flag(given, "return_num_output_tokens")
        self.perf_metrics = _flag(given, "return_perf_metrics")
        end_id = _number(given, "end_id")
        self.sampling: dict[str, Any] = {
            "max_tokens": _number(given, "max_tokens"),
            "ignore_eos": _flag(given, "ignore_eos") or (end_id is not None and end_id < 0),
            "return_perf_metrics": self.perf_metrics,
        }
        if end_id is not None and end_id >= 0:
            self.sampling["end_id"] = end_id
        for name in ("min_tokens", *_SAMPLING):
            if (value := _number(given, name)) is not None:
                self.sampling[name] = value
        if not self.sampling["max_tokens"] or self.sampling["max_tokens"] < 1:
            raise ValueError(f"max_tokens: got {_number(given, 'max_tokens')}, it must be above 0")


class Answer:
    """The answer to one request: token deltas while it streams, closed exactly once.

    `take` and `fail` belong to the loop. What they send, they hand to `post`, which keeps its
    order: sending waits for Triton, and the loop must not.
    """

    def __init__(self, ask: Ask, sender: Any, post: Callable[[Callable[[], None]], None]) -> None:
        self.ask = ask
        self.abort: Callable[[], object] = lambda: None
        self._sender = sender
        self._post = post
        self._tokens = 0
        self._characters = 0
        self._closed = False
        self._lock = threading.Lock()

    def take(self, output: Any) -> None:
        """Send what is new in the result so far, if it streams or is complete."""
        if not (self.ask.streaming or output.finished):
            return
        completion = output.outputs[0]
        text = completion.text[self._characters :]
        count = len(completion.token_ids) - self._tokens
        self._characters, self._tokens = len(completion.text), len(completion.token_ids)
        if not (self.ask.streaming or self.ask.exclude_input):
            text, count = self.ask.prompt + text, count + len(output.prompt_token_ids)
        tensors = [pb_utils.Tensor("text_output", np.array([text.encode()], dtype=object))]
        if self.ask.count_output:
            tensors.append(_integer("num_output_tokens", count))
        if self.ask.count_input:
            tensors.append(_integer("num_input_tokens", len(output.prompt_token_ids)))
        if self.ask.perf_metrics and output.finished:
            tensors += perf_metrics(completion)
        response, final = pb_utils.InferenceResponse(output_tensors=tensors), output.finished
        self._post(lambda: self._send(response, final=final))

    def fail(self, reason: str) -> None:
        """End with an error."""
        error = pb_utils.TritonError(reason)
        self._post(lambda: self._send(pb_utils.InferenceResponse(error=error), final=True))

    def close_if_cancelled(self) -> bool:
        """Close without a word if the client has gone; whether that was so."""
        with self._lock:
            # Triton forgets a request with its final response and may not be asked of it again.
            if self._closed or not self._sender.is_cancelled():
                return False
            self._closed = True
            self._sender.send(flags=_FINAL)
            return True

    def _send(self, response: Any, *, final: bool) -> None:
        with self._lock:
            if not self._closed:
                self._closed = final
                self._sender.send(response, flags=_FINAL if final else 0)


def perf_metrics(completion: Any) -> list[Any]:
    """The engine's stamps and KV blocks of a finished completion, where this version has them."""
    metrics = getattr(completion, "request_perf_metrics", None)
    if metrics is None:
        return []
    stamps = [
        _integer(name, _nanoseconds(getattr(metrics.timing_metrics, field)), np.int64)
        for name, field in _STAMPS.items()
    ]
    blocks = [
        _integer(name, getattr(metrics.kv_cache_metrics, field)) for name, field in _BLOCKS.items()
    ]
    return stamps + blocks


def _load(arguments: dict[str, Any]) -> tuple[Any, Any]:
    # Here, not above: importing it opens the GPU, which must be the one this process may see.
    from tensorrt_llm import LLM, SamplingParams  # noqa: PLC0415
    from tensorrt_llm.llmapi import (  # noqa: PLC0415
        CapacitySchedulerPolicy,
        KvCacheConfig,
        SchedulerConfig,
    )

    policy = arguments.pop("scheduler_config")["capacity_scheduler_policy"]
    llm = LLM(
        **{
            **arguments,
            "kv_cache_config": KvCacheConfig(**arguments["kv_cache_config"]),
            "scheduler_config": SchedulerConfig(
                capacity_scheduler_policy=CapacitySchedulerPolicy[policy]
            ),
        }
    )
    return llm, SamplingParams


def _send_all(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while (send := queue.get()) is not None:
        try:
            send()
        except Exception as error:  # noqa: BLE001 - one broken answer must not silence the others
            pb_utils.Logger.log_error(f"a response could not be sent: {error}")


def _refuse(sender: Any, reason: str, code: int) -> None:
    error = pb_utils.TritonError(reason, code)
    sender.send(pb_utils.InferenceResponse(error=error), flags=_FINAL)


def _nanoseconds(duration: Any) -> int:
    """A timedelta of the steady clock, exactly; as a float it would lose the microseconds."""
    whole_s: int = duration.days * 86_400 + duration.seconds
    microseconds: int = duration.microseconds
    return whole_s * 1_000_000_000 + microseconds * 1_000


def _integer(name: str, value: int, kind: type[np.integer[Any]] = np.int32) -> Any:
    return pb_utils.Tensor(name, np.array([value], dtype=kind))


def _text(given: Mapping[str, Any]) -> str:
    values = given["text_input"].ravel()
    if values.size != 1:
        raise ValueError(f"text_input: got {values.size} prompts, send one a request")
    text: str = values[0].decode()  # other bytes than UTF-8 are a ValueError
    if not text:
        raise ValueError("text_input: got no text, but a prompt needs at least one token")
    return text


def _number(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        return None
    values = given[name].ravel()
    if values.size != 1:
        raise ValueError(f"{name}: got {values.tolist()}, but it must be one value")
    return values[0].item()


def _flag(given: Mapping[str, Any], name: str) -> bool:
    return bool(_number(given, name))
