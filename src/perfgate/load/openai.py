"""OpenAI's completions, streamed: how a request is asked for and what its chunks say.

Servers that speak it (vLLM, SGLang, trtllm-serve, llama-server) add what a load needs and OpenAI's
own interface lacks: an exact length (`min_tokens`, `ignore_eos`), and the tokens so far in each
chunk (`continuous_usage_stats`; llama-server's `timings_per_token`). Most publish what they take as
an OpenAPI description, which decides what is sent. A chunk may hold several tokens or none; only
the server says how many.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from perfgate.errors import LoadError
from perfgate.load.generate import read_object
from perfgate.load.http1 import post
from perfgate.load.parser import INPUT_COUNT, OUTPUT_COUNT, MessageError, Reading
from perfgate.load.plain_http import NoAnswerError, get
from perfgate.load.spool import Ending, Exchange
from perfgate.load.wire import END

PATH: Final = "/v1/completions"
DONE: Final = b"[DONE]"
_TIMINGS: Final = "timings_per_token"
_EXTENSIONS: Final = ("min_tokens", "ignore_eos", _TIMINGS, "cache_salt")
_CONTINUOUS: Final = "continuous_usage_stats"


@dataclass(frozen=True, slots=True)
class Extensions:
    """A model, and what its server takes beyond OpenAI's own interface.

    `salt` is a load's own: prompts are drawn from a seed, and a server that stays up has those of
    the load before in its cache.
    """

    model: str
    fields: frozenset[str]
    salt: str = field(default_factory=lambda: secrets.token_hex(8))


def fetch_extensions(url: str, model: str) -> Extensions:
    """Ask the server what it takes; all that we know of where it does not describe itself.

    A server that refuses a field says so in its answers. Raises LoadError if nobody answers.
    """
    known = frozenset((*_EXTENSIONS, _CONTINUOUS))
    try:
        status, body = get(url, "/openapi.json")
    except NoAnswerError as error:
        raise LoadError(f"no OpenAI-compatible server answers at {url}: {error}") from error
    if status != 200:  # noqa: PLR2004 - it publishes none
        return Extensions(model, known)
    try:
        schemas = json.loads(body)["components"]["schemas"]
        named = {
            *schemas["CompletionRequest"]["properties"],
            *schemas.get("StreamOptions", {}).get("properties", {}),
        }
    except (ValueError, KeyError, TypeError):
        return Extensions(model, known)
    return Extensions(model, known & named)


def serialise(
    extensions: Extensions,
    authority: str,
    *,
    index: int,  # noqa: ARG001 - the interface has no room for it
    prompt: str,
    output_tokens: int,
    count_input: bool,  # noqa: ARG001 - usage always tells
) -> bytes:
    """Return the bytes of a request for `output_tokens` tokens, exactly so where it can be said."""
    extra = {
        "min_tokens": output_tokens,
        "ignore_eos": True,
        _TIMINGS: True,
        "cache_salt": extensions.salt,
    }
    body = {
        "model": extensions.model,
        "prompt": prompt,
        "max_tokens": output_tokens,
        **{name: value for name, value in extra.items() if name in extensions.fields},
        "stream": True,
        "stream_options": {
            "include_usage": True,
            **({_CONTINUOUS: True} if _CONTINUOUS in extensions.fields else {}),
        },
    }
    return post(authority, PATH, body)


def read(exchange: Exchange, reading: Reading) -> None:
    """Read the chunks of one answer into `reading`.

    Where each chunk tells the tokens so far, its own are the difference, whether or not it has
    text: half a character has none yet, nor has a special token. Where only the last tells the
    total, it is spread evenly over the chunks with text, and `counted` is false unless each has
    one. Raises MessageError for what is no such answer.
    """
    chunks: list[tuple[int, bool, int | None]] = []  # when, whether with text, the tokens so far
    usage: dict[str, Any] = {}
    done = False
    for stamp_ns, message in zip(exchange.stamps_ns, exchange.messages, strict=True):
        if message == END:
            break
        if message == DONE:
            done = True
            continue
        chunk = _checked(read_object(message))
        usage = chunk.get("usage") or usage
        text = any(choice.get("text") for choice in chunk.get("choices") or ())
        chunks.append((stamp_ns, text, _so_far(chunk)))
    total = _total(usage)
    reading.arrivals[:], reading.counted = _arrivals(chunks, total)
    if isinstance(prompt := usage.get("prompt_tokens"), int):
        reading.integers[INPUT_COUNT] = prompt
    if exchange.ending is not Ending.FINAL:
        return
    if not done:
        raise MessageError(f"the answer ended without {DONE.decode()}: it was cut short")
    if total is None:
        raise MessageError("the server sent no usage: tokens cannot be counted")
    reading.integers[OUTPUT_COUNT] = total


def _arrivals(
    chunks: list[tuple[int, bool, int | None]], total: int | None
) -> tuple[list[tuple[int, int]], bool]:
    """When tokens came and how many, and whether the server itself said how many with each."""
    if all(so_far is not None for _, text, so_far in chunks if text):
        before = 0
        arrivals = []
        for stamp_ns, _, so_far in chunks:
            if so_far is not None and so_far != before:
                arrivals.append((stamp_ns, so_far - before))
                before = so_far
        return arrivals, True
    stamps = [stamp_ns for stamp_ns, text, _ in chunks if text]
    if total is None:
        return [], True
    bounds = [total * part // len(stamps) for part in range(len(stamps) + 1)]
    spread = [after - before for before, after in pairwise(bounds)]
    return [
        (at, tokens) for at, tokens in zip(stamps, spread, strict=True) if tokens
    ], total == len(stamps)


def _checked(chunk: dict[str, Any]) -> dict[str, Any]:
    if error := chunk.get("error"):
        raise MessageError(str(error.get("message", error) if isinstance(error, dict) else error))
    if chunk.get("object") == "error":
        raise MessageError(str(chunk.get("message", chunk)))
    return chunk


def _so_far(chunk: dict[str, Any]) -> int | None:
    """All tokens up to this chunk, if it tells."""
    total = _total(chunk.get("usage"))
    timings = chunk.get("timings")
    if total is None and isinstance(timings, dict):
        tokens = timings.get("predicted_n")
        return tokens if isinstance(tokens, int) else None
    return total


def _total(usage: Any) -> int | None:
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None
