"""Other people's load clients, for comparison, each in a process of its own: its CPU is its own.

drive_threads        tritonclient's streams, a thread each: the obvious first client
drive_asyncio        tritonclient's asyncio client, a task each
drive_perf_analyzer  NVIDIA's perf_analyzer, written in C++, where it is installed
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, aio

from perfgate.load.calibration import Calibration
from perfgate.load.fidelity import StampedStream, judge_stamps
from perfgate.load.spool import Receiver
from perfgate.model import ClientAudit, Protocol, Server, Workload

PERF_ANALYZER = "perf_analyzer"
_TEXT = "text_output"


def drive_threads(server: Server, load: Workload, requests: int) -> Calibration:
    """Drive the stamping server from a process of threads and judge its stamps."""
    return _drive_python("threads", server, load, requests)


def drive_asyncio(server: Server, load: Workload, requests: int) -> Calibration:
    """Drive the stamping server from a process of tasks and judge its stamps."""
    return _drive_python("asyncio", server, load, requests)


def drive_perf_analyzer(server: Server, load: Workload, requests: int) -> Calibration:
    """Drive the stamping server with perf_analyzer and judge the stamps of its export.

    They are times of day, and are set back to the server's clock by how far the two lie apart. CPU
    is the whole process's, its start and the writing of the export among it.
    """
    with tempfile.TemporaryDirectory(prefix="perfgate-perf-analyzer-") as name:
        asked, export = Path(name, "asked.json"), Path(name, "export.json")
        asked.write_text(json.dumps({"data": [{"text_input": ["x"], "max_tokens": [load.osl]}]}))
        argv = [PERF_ANALYZER, "-m", server.model, "-u", server.grpc_url, "-i", "grpc"]
        argv += ["--async", "--streaming", "--input-data", str(asked)]
        argv += ["--concurrency-range", str(load.concurrency), "--request-count", str(requests)]
        argv += ["--profile-export-file", str(export)]
        cpu_s, ahead_ns = _cpu_s(resource.RUSAGE_CHILDREN), _day_ahead_ns()
        subprocess.run(argv, capture_output=True, check=True)
        cpu_s = _cpu_s(resource.RUSAGE_CHILDREN) - cpu_s
        ahead_ns = (ahead_ns + _day_ahead_ns()) // 2
        (level,) = json.loads(export.read_text(encoding="utf-8"))["experiments"]
    streams = [
        _stream(
            load.osl,
            one["timestamp"] - ahead_ns,
            [stamp - ahead_ns for stamp in one["response_timestamps"]],
            [output[_TEXT] for output in one["response_outputs"]],
        )
        for one in level["requests"]
    ]
    last_ns = max(one["arrived_ns"][-1] for one in streams)
    wall_s = (last_ns - min(one["request_sent_ns"] for one in streams)) / 1e9
    return _judged(streams, load, cpu_s=cpu_s, wall_s=wall_s)


def _drive_python(kind: str, server: Server, load: Workload, requests: int) -> Calibration:
    argv = [sys.executable, __file__, kind, server.grpc_url, server.model]
    numbers = [str(one) for one in (load.concurrency, load.osl, requests)]
    done = subprocess.run([*argv, *numbers], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return _judged(told["streams"], load, cpu_s=told["cpu_s"], wall_s=told["wall_s"])


def _judged(
    told: Sequence[dict[str, Any]], load: Workload, *, cpu_s: float, wall_s: float
) -> Calibration:
    streams = [StampedStream(**{**one, **_tuples(one)}) for one in told]
    tokens = sum(len(one.sent_ns) for one in streams)
    audit = ClientAudit(
        cpu_s=cpu_s,
        wall_s=wall_s,
        messages=tokens,
        lag_p99_s=0.0,
        lag_max_s=0.0,
        late_sends=0,
        involuntary_switches=0,
    )
    return Calibration(
        receiver=Receiver.GRPC,
        protocol=Protocol.GRPC,
        concurrency=load.concurrency,
        tok_s=tokens / wall_s,
        cpu_us_per_token=1e6 * cpu_s / max(1, tokens),
        fidelity=judge_stamps(streams),
        audit=audit,
        faults=() if tokens else ("nothing arrived",),
    )


def _tuples(one: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one[name]) for name in ("sent_ns", "arrived_ns", "numbers")}


def _stream(
    osl: int, sent_ns: int, arrived_ns: list[int], texts: Sequence[str | bytes]
) -> dict[str, Any]:
    """One request as `StampedStream` has it, from the stamps in the server's texts."""
    stamps = [[int(part) for part in text.split()] for text in texts]
    return {
        "asked": osl,
        "request_sent_ns": sent_ns,
        "request_came_ns": stamps[0][1] if stamps else 0,
        "sent_ns": [sent for sent, _, _ in stamps],
        "arrived_ns": arrived_ns,
        "numbers": [number for _, _, number in stamps],
    }


class _Stream(threading.Thread):
    """One closed-loop client: a thread that waits for its callback's last message."""

    def __init__(self, url: str, model: str, osl: int, left: count[int], requests: int) -> None:
        super().__init__()
        self._model, self._osl, self._left, self._requests = model, osl, left, requests
        self._ended = threading.Event()
        self._client = InferenceServerClient(url)
        self._client.start_stream(self._take)
        self.streams: list[dict[str, Any]] = []
        self._arrived: list[int] = []
        self._results: list[Any] = []

    def _take(self, result: object, error: object) -> None:
        self._arrived.append(time.perf_counter_ns())
        self._results.append(result)
        if error is not None or len(self._arrived) == self._osl:
            self._ended.set()

    def run(self) -> None:
        """Send, wait, send again, until all requests are drawn."""
        while next(self._left) < self._requests:
            self._ask()
        self._client.stop_stream()

    def _ask(self) -> None:
        self._arrived, self._results = [], []
        self._ended.clear()
        inputs = _inputs(self._osl)
        sent_ns = time.perf_counter_ns()
        self._client.async_stream_infer(self._model, inputs)
        self._ended.wait(60.0)
        self.streams.append(_stream(self._osl, sent_ns, self._arrived, _texts(self._results)))


def _by_threads(
    url: str, model: str, concurrency: int, osl: int, requests: int
) -> list[dict[str, Any]]:
    left = count()
    streams = [_Stream(url, model, osl, left, requests) for _ in range(concurrency)]
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()
    return [one for stream in streams for one in stream.streams]


def _by_asyncio(
    url: str, model: str, concurrency: int, osl: int, requests: int
) -> list[dict[str, Any]]:
    left = count()
    streams: list[dict[str, Any]] = []

    async def ask(client: aio.InferenceServerClient) -> None:
        sent: list[int] = []
        arrived: list[int] = []
        results: list[Any] = []

        async def one() -> AsyncIterator[dict[str, Any]]:
            inputs = _inputs(osl)
            sent.append(time.perf_counter_ns())
            yield {"model_name": model, "inputs": inputs}

        async for result, _ in client.stream_infer(one()):
            arrived.append(time.perf_counter_ns())
            results.append(result)
        streams.append(_stream(osl, sent[0], arrived, _texts(results)))

    async def loop() -> None:
        async with aio.InferenceServerClient(url) as client:
            while next(left) < requests:
                await ask(client)

    async def all_of_them() -> None:
        await asyncio.gather(*(loop() for _ in range(concurrency)))

    asyncio.run(all_of_them())
    return streams


def _inputs(osl: int) -> list[InferInput]:
    return [_tensor("text_input", "BYTES", [b"x"]), _tensor("max_tokens", "INT32", [osl])]


def _tensor(name: str, kind: str, values: list[object]) -> InferInput:
    tensor = InferInput(name, [1], kind)
    tensor.set_data_from_numpy(np.array(values, dtype=object if kind == "BYTES" else np.int32))
    return tensor


def _texts(results: list[Any]) -> list[bytes]:
    return [result.as_numpy(_TEXT).ravel()[0] for result in results]


def _cpu_s(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def _day_ahead_ns() -> int:
    """How far the clock of the day is ahead of the one that the server stamps with."""
    return time.time_ns() - time.perf_counter_ns()


def _main(kind: str, url: str, model: str, *numbers: int) -> None:
    drive = {"threads": _by_threads, "asyncio": _by_asyncio}[kind]
    cpu_s, started_s = _cpu_s(resource.RUSAGE_SELF), time.perf_counter()
    streams = drive(url, model, *numbers)
    told = {
        "cpu_s": _cpu_s(resource.RUSAGE_SELF) - cpu_s,
        "wall_s": time.perf_counter() - started_s,
        "streams": streams,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
