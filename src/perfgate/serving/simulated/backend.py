"""The Triton model: requests to the simulated engine, its tokens back as responses.

Runs inside Triton's python-backend stub, the only place where `triton_python_backend_utils` is.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from perfgate import dilation
from perfgate.engines.layout import read_simulated
from perfgate.errors import PerfGateError
from perfgate.model import ServingSpec
from perfgate.serving.repository import serving_spec
from perfgate.serving.simulated.asks import Ask, read_ask
from perfgate.serving.simulated.metrics import EngineMetrics
from perfgate.serving.simulated.outbox import Outbox
from perfgate.serving.simulated.replies import Reply, refuse
from perfgate.serving.simulated.ticker import Ticker
from perfgate.serving.tokenizer import VOCAB_SIZE
from perfgate.sim.cost import cost_model
from perfgate.sim.realtime import EngineClock, RealTimeEngine
from perfgate.sim.scheduler import Emission, Scheduler

# Asking Triton whether a request was cancelled takes a message each: so many are asked a tick.
_CANCEL_CHECKS = 16
_PATIENCE_S = 1.0


class TritonPythonModel:
    """A decoupled model: `execute` takes requests in, the engine's thread sends the responses."""

    own_metrics = "perfgate_sim"

    def initialize(self, args: dict[str, str]) -> None:
        """Load the engine that the configuration names and start it."""
        parameters = {
            key: entry["string_value"]
            for key, entry in json.loads(args["model_config"])["parameters"].items()
        }
        self._ids = itertools.count(1)
        self._replies: dict[int, Reply] = {}
        self._outbox = Outbox(on_error=_log)
        self._clock = EngineClock(int(os.environ.get(dilation.VARIABLE, "1")))
        self._engine: Any = self._load(Path(parameters["gpt_model_path"]), serving_spec(parameters))
        self._tokens_per_block = self._engine.stats().scheduler.tokens_per_block
        self._last_checked = 0
        self._metrics = EngineMetrics(
            self._engine.stats(),
            version=args["model_version"],
            ours=self.own_metrics,
            clock=self._clock,
        )
        self._ticker = Ticker(self._tick, int(parameters["stats_check_period_ms"]) / 1000)
        self._outbox.start()
        self._engine.start()
        self._ticker.start()

    def execute(self, requests: list[Any]) -> None:
        """Submit each request to the engine; one it can never run is answered with the reason."""
        for request in requests:
            sender = request.get_response_sender()
            request_id = next(self._ids)
            try:
                given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
                ask = read_ask(given, request_id=request_id)
                self._replies[request_id] = Reply(ask, sender, self._tokens_per_block)
                self._submit(ask)
            except PerfGateError as error:
                self._replies.pop(request_id, None)
                refuse(sender, str(error))

    def _load(self, directory: Path, serving: ServingSpec) -> Any:
        """Make the engine, not yet started."""
        built = read_simulated(directory)
        scheduler = Scheduler(built.spec, serving, vocab_size=VOCAB_SIZE)
        cost = cost_model(built.profile, built.spec)
        return RealTimeEngine(
            scheduler,
            cost.step_seconds,
            emit=self._emit,
            clock=self._clock.now_ns,
            wait=self._clock.wait_until,
        )

    def _submit(self, ask: Ask) -> None:
        self._engine.submit(ask.request)

    def finalize(self) -> None:
        """Stop the threads, patiently, but not if they wait for a Triton that has died."""
        self._ticker.stop(_PATIENCE_S)
        self._outbox.stop(_PATIENCE_S)
        self._engine.stop()

    def _emit(self, emissions: list[Emission]) -> None:
        """Send the tokens of one iteration, last ones first; runs on the engine's thread.

        Whoever has got its last token sends the next request; on a busy machine the others' tokens
        would hold it up until it misses an iteration.
        """
        work = []
        for emission in sorted(emissions, key=lambda emission: not emission.final):
            # A reply that was cancelled while its last iteration ran is no longer there.
            if reply := self._replies.get(emission.request_id):
                take = self._take_last if emission.final else Reply.take
                if send := take(reply, emission):
                    work.append((emission.request_id, send))
        self._outbox.post(work)

    def _take_last(self, reply: Reply, emission: Emission) -> Callable[[], None]:
        self._replies.pop(emission.request_id, None)
        send = reply.finish(emission, self._engine.timings(emission.request_id))
        self._metrics.finished(reply.ask.request.prompt_tokens, reply.output_tokens)
        return send

    def _tick(self) -> None:
        self._drop_cancelled()
        self._metrics.update(self._engine.stats())

    def _drop_cancelled(self) -> None:
        """Ask of some requests, in turn, whether the client has gone, and forget those."""
        ids = sorted(self._replies)
        start = bisect.bisect_right(ids, self._last_checked)
        for request_id in (ids[start:] + ids[:start])[:_CANCEL_CHECKS]:
            self._last_checked = request_id
            reply = self._replies.get(request_id)
            if reply is not None and reply.close_if_cancelled():
                self._replies.pop(request_id, None)
                self._engine.cancel(request_id)


def _log(error: Exception) -> None:
    pb_utils.Logger.log_error(f"a response could not be sent: {error}")
