"""A stand-in for TensorRT-LLM's LLM API: upstream's signatures, no GPU behind them.

Signatures and behaviour follow `tensorrt_llm/llmapi/llm.py`, `executor/result.py` and
`sampling_params.py` of NVIDIA/TensorRT-LLM: results are asynchronous iterators whose outputs grow,
time stamps are timedeltas of the steady clock, an aborted request ends as `cancelled`, unknown
keyword arguments are refused. Every answer is made of words of the model's own tokenizer and would
end after five tokens, were the end not ignored.

It tells what happened to it in the file that STANDIN_LLM_LOG names.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from tokenizers import Tokenizer

from tensorrt_llm.llmapi import KvCacheConfig, SchedulerConfig

__all__ = ["LLM", "SamplingParams"]
__version__ = "1.2.1"

TOKENS_TO_END = 5
ITL_S = float(os.environ.get("STANDIN_LLM_ITL_S", "0.003"))
# As many tokens come at once as with speculative decoding: a message is not a token.
TOKENS_PER_STEP = int(os.environ.get("STANDIN_LLM_STEP", "1"))


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """The fields of upstream's that a text client can set; another one is a TypeError."""

    end_id: int | None = None
    pad_id: int | None = None
    max_tokens: int = 32
    n: int = 1
    best_of: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    exclude_input_from_output: bool = True
    return_perf_metrics: bool = False
    ignore_eos: bool = False
    detokenize: bool = True
    add_special_tokens: bool = True
    skip_special_tokens: bool = True

    def __post_init__(self):
        """Refuse what upstream refuses."""
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"require temperature >= 0, got temperature={self.temperature}")


@dataclass(slots=True)
class CompletionOutput:
    """One growing answer."""

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    request_perf_metrics: object = None


class RequestOutput:
    """The answer to one request: iterate over it, or abort it."""

    def __init__(self, llm, prompt, params, *, streaming):
        self._llm = llm
        self._params = params
        self._streaming = streaming
        self._aborted = False
        self._arrival = _now()
        self.prompt = prompt
        self.prompt_token_ids = llm.tokenizer.encode(prompt).ids
        self.outputs = [CompletionOutput(0)]
        self.finished = False

    def abort(self):
        """Stop to answer."""
        tell(f"abort after {len(self.outputs[0].token_ids)} tokens")
        self._aborted = True

    def __aiter__(self):
        """Itself."""
        return self

    async def __anext__(self):
        """The answer so far; without streaming only the whole one."""
        if self.finished:
            raise StopAsyncIteration
        while True:
            await asyncio.sleep(ITL_S)
            self._step()
            if self._streaming or self.finished:
                return self

    def _step(self):
        output = self.outputs[0]
        if not output.token_ids:
            self._first = _now()
        for _ in range(TOKENS_PER_STEP):
            if not self.finished:
                output.token_ids.append(self._next(len(output.token_ids)))
                self._end(output)
        output.text = self._llm.tokenizer.decode(output.token_ids)
        if self.finished and self._params.return_perf_metrics:
            output.request_perf_metrics = self._metrics()

    def _next(self, place):
        words = self._llm.words
        return words[(sum(self.prompt_token_ids) + (self._params.seed or 0) + place) % len(words)]

    def _end(self, output):
        count = len(output.token_ids)
        said_end = count >= TOKENS_TO_END and not self._params.ignore_eos
        if self._aborted:
            self.finished, output.finish_reason = True, "cancelled"
        elif count >= self._params.max_tokens:
            self.finished, output.finish_reason = True, "length"
        elif said_end and count >= (self._params.min_tokens or 0):
            self.finished, output.finish_reason = True, "stop"

    def _metrics(self):
        return SimpleNamespace(
            timing_metrics=SimpleNamespace(
                arrival_time=self._arrival,
                first_scheduled_time=self._arrival,
                first_token_time=self._first,
                last_token_time=_now(),
            ),
            kv_cache_metrics=SimpleNamespace(
                num_total_allocated_blocks=3, num_new_allocated_blocks=3, num_reused_blocks=0
            ),
        )


class LLM:
    """Loads a model's tokenizer, and refuses what upstream's strict arguments refuse."""

    def __init__(  # noqa: PLR0917 - upstream's order
        self,
        model,
        tokenizer=None,
        tokenizer_mode="auto",
        skip_tokenizer_init=False,  # noqa: FBT002
        trust_remote_code=False,  # noqa: FBT002
        tensor_parallel_size=1,
        dtype="auto",
        revision=None,
        tokenizer_revision=None,
        **kwargs,
    ):
        del tokenizer_mode, skip_tokenizer_init, trust_remote_code, revision, tokenizer_revision
        unknown = set(kwargs) - KNOWN
        if unknown:
            raise ValueError(f"unexpected keyword argument {sorted(unknown)}")
        assert isinstance(kwargs["kv_cache_config"], KvCacheConfig)
        assert isinstance(kwargs["scheduler_config"], SchedulerConfig)
        if "OMPI_COMM_WORLD_RANK" in os.environ:
            raise RuntimeError("MPI: this process belongs to another job")
        self.arguments = {"dtype": dtype, "tensor_parallel_size": tensor_parallel_size, **kwargs}
        self.tokenizer = Tokenizer.from_file(str(tokenizer or Path(model) / "tokenizer.json"))
        self.words = [token for token in range(300, 900) if self.tokenizer.id_to_token(token)]
        tell(f"loaded with kv tokens {kwargs['kv_cache_config'].max_tokens}")

    def generate_async(  # noqa: PLR0917 - upstream's order: the streaming flag is not the third
        self,
        inputs,
        sampling_params=None,
        lora_request=None,
        prompt_adapter_request=None,
        streaming=False,  # noqa: FBT002
        kv_cache_retention_config=None,
        disaggregated_params=None,
        _postproc_params=None,
        scheduling_params=None,
        cache_salt=None,
    ):
        """Submit one prompt."""
        del kv_cache_retention_config, disaggregated_params, scheduling_params, cache_salt
        assert lora_request is None
        assert prompt_adapter_request is None
        assert asyncio.get_running_loop()  # upstream's result needs one to be awaited
        if len(self.tokenizer.encode(inputs).ids) > self.arguments["max_input_len"]:
            raise RequestError("prompt length exceeds max_input_len")
        return RequestOutput(self, inputs, sampling_params or SamplingParams(), streaming=streaming)

    def shutdown(self):
        """Stop."""
        tell("shutdown")


class RequestError(RuntimeError):
    """A request that cannot be run."""


KNOWN = {
    "backend",
    "max_batch_size",
    "max_input_len",
    "max_seq_len",
    "max_num_tokens",
    "max_beam_width",
    "enable_chunked_prefill",
    "return_perf_metrics",
    "kv_cache_config",
    "scheduler_config",
}


def tell(what):
    """Note what happened."""
    if path := os.environ.get("STANDIN_LLM_LOG"):
        with Path(path).open("a") as log:
            log.write(f"{what}\n")


def _now():
    return timedelta(microseconds=time.perf_counter_ns() // 1000)
