"""Another load tool run on a server of ours, and what it recorded read back."""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

from perfgate.errors import LoadError, MissingRequirementError, UsageError
from perfgate.model import LoadRun, OperatingPoint, Protocol, Server
from perfgate.peers.records import read_peer

TIMEOUT_S = 3600.0
_EXPORT = "profile_export.json"
_LINES = "profile_export.jsonl"
_TAIL = 400


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
    genai-perf counts no tokens of Triton's answers but by tokenising them again; each message with
    text is taken for one token instead, which TensorRT-LLM's streams hold without speculation.

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
    """Where the tool is; MissingRequirementError if it is not installed."""
    program = shutil.which(driver)
    if program is None:
        raise MissingRequirementError(f"{driver} is not installed: pip install {driver}")
    return program


def command(
    driver: Driver, server: Server, point: OperatingPoint, *, tokenizer: str, folder: Path
) -> list[str]:
    """The argv that asks the tool for the point's load; UsageError for what it cannot speak."""
    load, sampling = point.workload, point.sampling
    if not load.uniform or load.prefix is not None:
        rule = f"it sends closed loops of equal requests; the load of {point.id} is another"
        raise UsageError("--driver", str(driver), rule)
    shape = [
        *("--concurrency", str(load.concurrency)),
        *("--request-count", str(sampling.rounds * sampling.round_requests)),
        *("--warmup-request-count", str(sampling.ramp * load.concurrency)),
        *("--synthetic-input-tokens-mean", str(load.isl), "--synthetic-input-tokens-stddev", "0"),
        *("--output-tokens-mean", str(load.osl), "--output-tokens-stddev", "0"),
        *("--random-seed", str(load.seed), "--tokenizer", tokenizer),
        *("--artifact-dir", str(folder), "--streaming"),
    ]
    match driver, server.protocol:
        case Driver.GENAI_PERF, Protocol.GRPC:
            endpoint = ["--endpoint-type", "kserve", "--backend", "tensorrtllm"]
            exact = ["--extra-inputs", f"min_tokens:{load.osl}"]
            where = ["--url", server.grpc_url]
        case Driver.GENAI_PERF | Driver.AIPERF, Protocol.OPENAI:
            endpoint = ["--endpoint-type", "completions"]
            exact = [
                *("--extra-inputs", f"min_tokens:{load.osl}"),
                *("--extra-inputs", "ignore_eos:true"),
            ]
            where = ["--url", server.http_url]
        case _:
            rule = (
                "genai-perf speaks to Triton over grpc, and both tools to openai+http servers;"
                f" this one is asked by {server.protocol}"
            )
            raise UsageError("--driver", str(driver), rule)
    return [str(driver), "profile", "--model", server.model, *endpoint, *where, *shape, *exact]
