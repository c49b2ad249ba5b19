"""What a request to `tensorrt_llm` asks for: tensors in, checked values out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perfgate.errors import UsageError
from perfgate.sim.scheduler import SimRequest

Arrays = Mapping[str, npt.NDArray[Any]]

# What a real engine can do and this one cannot; asked for, it is refused rather than ignored.
_ONE_ONLY = ("beam_width", "num_return_sequences")
_NEVER = ("return_log_probs", "return_context_logits", "return_generation_logits")
_NO_WORDS = ("stop_words_list", "bad_words_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: what the engine runs, and what is told of it in which form."""

    request: SimRequest
    prompt: tuple[int, ...]
    streaming: bool
    exclude_input: bool
    count_input: bool
    count_output: bool
    perf_metrics: bool


def read_ask(given: Arrays, *, request_id: int) -> Ask:
    """Read a request's tensors, by name, each with a leading batch dimension of one.

    Raises UsageError naming the tensor, its value and the rule it breaks.
    """
    _refuse_unsupported(given)
    prompt = _prompt(given)
    end_id = _scalar(given, "end_id", -1)
    return Ask(
        request=SimRequest(
            id=request_id,
            prompt_tokens=len(prompt),
            max_tokens=_scalar(given, "request_output_len", 0),
            min_tokens=_scalar(given, "min_tokens", 0),
            end_id=end_id if end_id >= 0 else None,
            # Without a seed the prompt decides: the same question gets the same answer.
            seed=_scalar(given, "seed", zlib.crc32(prompt.tobytes())),
        ),
        prompt=tuple(prompt.tolist()),
        streaming=_flag(given, "streaming"),
        exclude_input=_flag(given, "exclude_input_in_output"),
        count_input=_flag(given, "return_num_input_tokens"),
        count_output=_flag(given, "return_num_output_tokens"),
        perf_metrics=_flag(given, "return_perf_metrics"),
    )


def _prompt(given: Arrays) -> npt.NDArray[np.int32]:
    if "input_ids" not in given:
        raise UsageError("input_ids", None, "the engine needs a prompt")
    rows = given["input_ids"].reshape(-1, given["input_ids"].shape[-1])
    if len(rows) != 1:
        rule = "send one prompt a request: the engine batches requests by itself"
        raise UsageError("input_ids", f"a batch of {len(rows)}", rule)
    length = _scalar(given, "input_lengths", rows.size)
    if not 1 <= length <= rows.size:
        rule = f"it must lie between 1 and the {rows.size} ids given"
        raise UsageError("input_lengths", length, rule)
    prompt: npt.NDArray[np.int32] = rows[0, :length]
    return prompt


def _refuse_unsupported(given: Arrays) -> None:
    for name in _ONE_ONLY:
        if _scalar(given, name, 1) != 1:
            rule = "this engine answers with one sequence"
            raise UsageError(name, _scalar(given, name, 1), rule)
    for name in _NEVER:
        if _flag(given, name):
            raise UsageError(name, True, "this engine returns no probabilities")  # noqa: FBT003 - the value that was sent
    for name in _NO_WORDS:
        if name in given and given[name].size:
            rule = "this engine does not look for words in its output"
            raise UsageError(name, "words", rule)


def _scalar(given: Arrays, name: str, default: int) -> int:
    if name not in given:
        return default
    values = given[name].ravel()
    if values.size != 1:
        raise UsageError(name, values.tolist(), "it must be one value")
    return int(values[0])


def _flag(given: Arrays, name: str) -> bool:
    return bool(_scalar(given, name, 0))
