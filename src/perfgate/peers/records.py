"""What another load tool recorded of each request, as a LoadRun.

perf_analyzer (and genai-perf, which runs it) writes `profile_export.json`: when each request was
sent and when each response came, in nanoseconds, with the responses' tensors or events. aiperf
writes `profile_export.jsonl`: one object a request with its start, its time to first token and the
gaps between its chunks in milliseconds. Sources: genai_perf/profile_data_parser of genai-perf
0.0.16, docs/tutorials/working-with-profile-exports.md and common/models of aiperf 0.13.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from perfgate.errors import UsageError
from perfgate.load.parser import INPUT_COUNT, OUTPUT_COUNT
from perfgate.model import (
    Fingerprint,
    LoadRun,
    OperatingPoint,
    RequestRecord,
    RequestStatus,
    Target,
)

PERF_ANALYZER = "perf_analyzer"
AIPERF = "aiperf"
_USAGE_IN, _USAGE_OUT = "usage_prompt_tokens", "usage_completion_tokens"
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "sec": 1e9, "s": 1e9}
_FORMS = (
    "it must be perf_analyzer's or genai-perf's profile_export.json, or aiperf's"
    " profile_export.jsonl: the files with each request. Their summaries hold too little"
)


def read_peer(
    path: Path, point: OperatingPoint, hardware: str, started_at: str, *, token_a_message: bool
) -> LoadRun:
    """Read what a tool recorded under the load of `point`.

    The run is one round: which of its requests belong to a ramp, the files do not say. It is over
    when the last one is sent, since clients that have nothing left to send make a smaller load.
    Where a file counts no tokens, `token_a_message` vouches that each message with text held one.
    Raises UsageError for a file of another form, or of another concurrency than the point's.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("file", str(path), f"it must be readable: {error}") from error
    try:
        tool, records = _parse(text, point, token_a_message=token_a_message, origin=str(path))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("file", str(path), _FORMS) from error
    ended = [record for record in records if record.status is RequestStatus.OK]
    if not ended:
        raise UsageError("file", str(path), "it must hold a request that ended well")
    records = sorted(records, key=lambda record: record.finished_ns)
    first_ns = min(record.due_ns for record in records)
    last_ns = max(record.due_ns for record in records)
    if not any(record.finished_ns <= last_ns for record in ended):  # one request a client: no more
        last_ns = records[-1].finished_ns
    return LoadRun(
        point=point,
        fingerprint=Fingerprint(
            hardware=hardware,
            target=Target.REMOTE,
            simulated=False,
            identity={
                "hardware": hardware,
                "concurrency": str(point.workload.concurrency),
                "isl": str(point.workload.isl),
                "osl": str(point.workload.osl),
                "driver": tool,
            },
        ),
        started_at=started_at,
        marks_ns=(first_ns, last_ns),
        records=tuple(
            replace(record, index=index, client=0) for index, record in enumerate(records)
        ),
        audit=None,
    )


def _parse(
    text: str, point: OperatingPoint, *, token_a_message: bool, origin: str
) -> tuple[str, list[RequestRecord]]:
    osl = point.workload.osl
    try:
        whole = json.loads(text)
    except ValueError:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        return AIPERF, list(_of_aiperf(rows, osl, origin))
    if "metadata" in whole:  # a file of one line
        return AIPERF, list(_of_aiperf([whole], osl, origin))
    experiments = whole["experiments"]
    wanted = point.workload.concurrency
    levels = [one["experiment"] for one in experiments]
    fitting = [
        one
        for one in experiments
        if (one["experiment"]["mode"], one["experiment"]["value"]) == ("concurrency", wanted)
    ]
    if len(fitting) != 1:
        found = ", ".join(f"{one['mode']} {one['value']}" for one in levels)
        rule = f"point {point.id} runs at concurrency {wanted}; it holds {found}"
        raise UsageError("file", origin, rule)
    return PERF_ANALYZER, list(
        _of_perf_analyzer(fitting[0]["requests"], osl, token_a_message, origin)
    )


def _of_perf_analyzer(
    requests: list[dict[str, Any]],
    osl: int,
    token_a_message: bool,  # noqa: FBT001 - the caller's own option
    origin: str,
) -> Iterator[RequestRecord]:
    for request in requests:
        sent_ns = request["timestamp"]
        stamps = request["response_timestamps"]
        outputs = request.get("response_outputs", [{}] * len(stamps))
        told = [_tokens(output) for output in outputs]
        if all(tokens is None for tokens in told):
            if not token_a_message:
                rule = "it counts no tokens: say --token-a-message if each message held one"
                raise UsageError("file", origin, rule)
            told = [int(_has_text(output)) for output in outputs]
        arrivals = [(at, tokens) for at, tokens in zip(stamps, told, strict=True) if tokens]
        yield _record(sent_ns, stamps[-1], arrivals, osl, input_tokens=_prompt(outputs))


def _of_aiperf(rows: list[dict[str, Any]], osl: int, origin: str) -> Iterator[RequestRecord]:
    for row in rows:
        about, metrics = row["metadata"], row["metrics"]
        if about.get("benchmark_phase", "profiling") != "profiling":
            continue
        sent_ns, ended_ns = about["request_start_ns"], about["request_end_ns"]
        if error := row.get("error"):
            yield _record(sent_ns, ended_ns, [], osl, error=f"{error['type']}: {error['message']}")
            continue
        first_ns = sent_ns + _in_ns(metrics["time_to_first_token"])
        gaps = metrics.get("inter_chunk_latency", {"value": [], "unit": "ms"})
        stamps = [first_ns + round(at) for at in accumulate(_all_ns(gaps), initial=0.0)]
        # The server's own count where it told one; aiperf's own is of the text, tokenised again.
        counted = metrics.get(_USAGE_OUT) or metrics.get("output_sequence_length")
        if counted is None:
            rule = "it counts no tokens: the server told no usage, and aiperf was not to tokenise"
            raise UsageError("file", origin, rule)
        total = round(counted["value"])
        bounds = [total * part // len(stamps) for part in range(len(stamps) + 1)]
        spread = [after - before for before, after in pairwise(bounds)]
        arrivals = [(at, tokens) for at, tokens in zip(stamps, spread, strict=True) if tokens]
        length = metrics.get(_USAGE_IN) or metrics.get("input_sequence_length")
        yield _record(
            sent_ns,
            max(ended_ns, stamps[-1]),
            arrivals,
            osl,
            counted=total == len(stamps),
            input_tokens=None if length is None else round(length["value"]),
        )


def _record(
    sent_ns: int,
    ended_ns: int,
    arrivals: list[tuple[int, int]],
    osl: int,
    *,
    counted: bool = True,
    input_tokens: int | None = None,
    error: str = "",
) -> RequestRecord:
    return RequestRecord(
        index=0,
        client=0,
        due_ns=sent_ns,  # when it should have been sent, the files do not say
        sent_ns=sent_ns,
        finished_ns=ended_ns,
        status=RequestStatus.ERROR if error else RequestStatus.OK,
        arrivals_ns=tuple(at for at, _ in arrivals),
        tokens=tuple(tokens for _, tokens in arrivals),
        counted=counted,
        input_tokens=input_tokens,
        expected_output_tokens=osl,
        error=error,
    )


def _tokens(output: dict[str, Any]) -> int | None:
    """A response's own count, where its tensors hold one."""
    return _integer(output.get(OUTPUT_COUNT))


def _prompt(outputs: list[dict[str, Any]]) -> int | None:
    told = [_integer(output.get(INPUT_COUNT)) for output in outputs]
    return next((length for length in reversed(told) if length is not None), None)


def _integer(value: Any) -> int | None:
    """A tensor's one number; perf_analyzer writes an empty text where the server sent none."""
    value = value[0] if isinstance(value, list) else value
    return None if value is None or value == "" else int(value)


def _has_text(output: dict[str, Any]) -> bool:
    """Whether a response brought text: a tensor's, or an event's of Triton or OpenAI."""
    if "response" not in output:
        return bool(output.get("text_output"))
    for line in output["response"].splitlines():
        data = line.removeprefix("data:").strip()
        if not data.startswith("{"):
            continue
        event = json.loads(data)
        choices = event.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        if event.get("text_output") or choices[0].get("text") or delta.get("content"):
            return True
    return False


def _in_ns(metric: dict[str, Any]) -> int:
    return round(float(metric["value"]) * _NANOSECONDS[metric["unit"]])


def _all_ns(metric: dict[str, Any]) -> list[float]:
    return [value * _NANOSECONDS[metric["unit"]] for value in metric["value"]]
