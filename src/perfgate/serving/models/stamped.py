"""A model that answers with the time at which it sends: what a load client is calibrated against.

One thread sends one token to every running request, every `step_us` microseconds or, at 0, as fast
as Triton takes them. A token's text is two times of `time.perf_counter_ns()`, when the token was
handed over and when its request came, and its number in the request, from 0.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_ONE = np.array([1], dtype=np.int32)


class _Running:
    """One request: whom to answer, since when, and how many tokens it still gets."""

    __slots__ = ("came_ns", "left", "sender", "sent")

    def __init__(self, sender: Any, tokens: int) -> None:
        self.came_ns = time.perf_counter_ns()
        self.sender = sender
        self.left = tokens
        self.sent = 0


class TritonPythonModel:
    """A decoupled model without a tokenizer, a scheduler or a batch limit."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the thread that sends."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._step_s = int(parameters["step_us"]["string_value"]) / 1e6
        self._arrivals: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Take requests in; the thread answers them."""
        for request in requests:
            tokens = pb_utils.get_input_tensor_by_name(request, "max_tokens").as_numpy()
            self._arrivals.put(_Running(request.get_response_sender(), int(tokens.ravel()[0])))

    def finalize(self) -> None:
        """End the thread."""
        self._arrivals.put(None)
        self._thread.join(1.0)

    def _run(self) -> None:
        running: list[_Running] = []
        due_s = time.perf_counter()
        while True:
            while not (running and self._arrivals.empty()):
                if (arrived := self._arrivals.get()) is None:
                    return
                running.append(arrived)
            # Behind its pace it goes on from now: it never hurries to catch up.
            due_s = max(due_s + self._step_s, time.perf_counter())
            time.sleep(max(0.0, due_s - time.perf_counter()))  # the pace that is asked for
            for one in running:
                self._send(one)
            running = [one for one in running if one.left]

    def _send(self, one: _Running) -> None:
        one.left -= 1
        words = b"%d %d %d" % (time.perf_counter_ns(), one.came_ns, one.sent)
        one.sent += 1
        text = np.array([words], dtype=object)
        response = pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("text_output", text),
                pb_utils.Tensor("num_output_tokens", _ONE),
            ]
        )
        final = 0 if one.left else pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        one.sender.send(response, flags=final)
