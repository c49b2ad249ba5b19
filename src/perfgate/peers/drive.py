"""Another load tool run on a server of ours, and what it recorded read back."""

from __future__ import annotations

import math
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

from perfgate.errors import LoadError, MissingRequirementError, UsageError
from perfgate.model import LoadRun, OperatingPoint, Protocol, Server
from perfgate.peers.records import PERF_ANALYZER, read_peer

TIMEOUT_S = 3600.0
_EXPORT = "profile_export.json"
_LINES = "profile_export.jsonl"
_TAIL = 400
# Without them the answers hold no counts, and a prompt of another length goes unseen.
_COUNTS = ("return_num_output_tokens", "return_num_input_tokens")


class Driver(StrEnum):
    """A tool that can drive a load in our place."""

    GENAI_PERF = "genai-perf"
    AIPERF = "aiperf"


def drive_with(
    driver: Driver,
    server: Server,
    point: OperatingPoint,
    *,
    tokenizer: str,
    folder: Path,
    hardware: str,
    started_at: str,
    timeout_s: float = TIMEOUT_S,
) -> LoadRun:
    """Run the tool on `server` under the load of `point`; its files stay in `folder`.

    `tokenizer` is what the tool draws and counts prompts with: a name or folder of Hugging Face.
    Both count the tokens of an answer by tokenising it again, which gives another number than was
    sent, so the server is asked to count. genai-perf keeps no count of an OpenAI-compatible server:
    there each message with text is one token.

    Raises MissingRequirementError if it is not installed, LoadError if it failed or wrote nothing.
    """
    program = require_driver(driver)
    folder.mkdir(parents=True, exist_ok=True)
    argv = command(driver, server, point, tokenizer=tokenizer, folder=folder)
    try:
        done = subprocess.run(
            [program, *argv[1:]], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{driver} did not end within {timeout_s:g} s") from error
    (folder / f"{driver}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-_TAIL:]
        raise LoadError(f"{driver} ended with status {done.returncode}: {tail}")
    name = _LINES if driver is Driver.AIPERF else _EXPORT
    # genai-perf puts its files into a folder below the one that it is given.
    written = sorted(folder.rglob(name))
    if len(written) != 1:
        raise LoadError(f"{driver} wrote {len(written)} files {name} into {folder}, not one")
    return read_peer(written[0], point, hardware, started_at, token_a_message=True)


def require_driver(driver: Driver) -> str:
    """Where the tool is; MissingRequirementError if it, or what it runs, is not installed."""
    program = shutil.which(driver)
    if program is None:
        raise MissingRequirementError(f"{driver} is not installed: pip install {driver}")
    if driver is Driver.GENAI_PERF and shutil.which(PERF_ANALYZER) is None:
        rule = f"{driver} runs {PERF_ANALYZER}, which is not on the path"
        msg = f"{rule}; pip's package of that name is empty, docs/loadgen.md says where to get it"
        raise MissingRequirementError(msg)
    return program


def command(
    driver: Driver, server: Server, point: OperatingPoint, *, tokenizer: str, folder: Path
) -> list[str]:
    """The argv that asks the tool for the point's load; UsageError for what it cannot speak."""
    load, sampling = point.workload, point.sampling
    if not load.uniform or load.prefix is not None:
        rule = f"it sends closed loops of equal requests; the load of {point.id} is another"
        raise UsageError("--driver", str(driver), rule)
    # All clients send as many requests, since they begin and end together, and one that keeps the
    # load up while those that are measured end.
    each = math.ceil(sampling.rounds * sampling.round_requests / load.concurrency) + 1
    shape = [
        *("--concurrency", str(load.concurrency)),
        *("--request-count", str(each * load.concurrency)),
        *("--warmup-request-count", str(sampling.ramp * load.concurrency)),
        *("--synthetic-input-tokens-mean", str(load.isl), "--synthetic-input-tokens-stddev", "0"),
        *("--output-tokens-mean", str(load.osl), "--output-tokens-stddev", "0"),
        *("--random-seed", str(load.seed), "--tokenizer", tokenizer),
        *("--artifact-dir", str(folder), "--streaming"),
    ]
    match driver, server.protocol:
        case Driver.GENAI_PERF, Protocol.GRPC:
            endpoint = ["--endpoint-type", "kserve", "--backend", "tensorrtllm"]
            exact = _extra(f"min_tokens:{load.osl}", *(f"{count}:true" for count in _COUNTS))
            where = ["--url", server.grpc_url]
        case Driver.GENAI_PERF | Driver.AIPERF, Protocol.OPENAI:
            endpoint = ["--endpoint-type", "completions"]
            if driver is Driver.AIPERF:
                endpoint.append("--use-server-token-count")
            exact = _extra(f"min_tokens:{load.osl}", "ignore_eos:true")
            where = ["--url", server.http_url]
        case _:
            rule = (
                "genai-perf speaks to Triton over grpc, and both tools to openai+http servers;"
                f" this one is asked by {server.protocol}"
            )
            raise UsageError("--driver", str(driver), rule)
    return [str(driver), "profile", "--model", server.model, *endpoint, *where, *shape, *exact]


def _extra(*inputs: str) -> list[str]:
    """The options that add inputs, each `NAME:VALUE`, to every request."""
    return [word for one in inputs for word in ("--extra-inputs", one)]
