"""The obvious load client, for comparison: tritonclient's streams, one thread a stream.

A process of its own, so that its CPU time is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from itertools import count

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

from perfgate.load.calibration import Calibration
from perfgate.load.fidelity import StampedStream, judge_stamps
from perfgate.load.spool import Receiver
from perfgate.model import ClientAudit, Protocol, Server, Workload


def drive_threads(server: Server, load: Workload, requests: int) -> Calibration:
    """Drive the stamping server from a process of threads and judge its stamps."""
    argv = [sys.executable, __file__, server.grpc_url, server.model]
    numbers = [str(one) for one in (load.concurrency, load.osl, requests)]
    done = subprocess.run([*argv, *numbers], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    streams = [StampedStream(**{**one, **_tuples(one)}) for one in told["streams"]]
    tokens = sum(len(one.sent_ns) for one in streams)
    audit = ClientAudit(
        cpu_s=told["cpu_s"],
        wall_s=told["wall_s"],
        messages=told["messages"],
        lag_p99_s=0.0,
        lag_max_s=0.0,
        late_sends=0,
        involuntary_switches=0,
    )
    return Calibration(
        receiver=Receiver.GRPC,
        protocol=Protocol.GRPC,
        concurrency=load.concurrency,
        tok_s=told["messages"] / told["wall_s"],
        cpu_us_per_token=1e6 * told["cpu_s"] / max(1, told["messages"]),
        fidelity=judge_stamps(streams),
        audit=audit,
        faults=() if tokens else ("nothing arrived",),
    )


def _tuples(one: dict[str, object]) -> dict[str, object]:
    return {name: tuple(one[name]) for name in ("sent_ns", "arrived_ns", "numbers")}  # type: ignore[arg-type]


class _Stream(threading.Thread):
    """One closed-loop client: a thread that waits for its callback's last message."""

    def __init__(self, url: str, model: str, osl: int, left: count[int], requests: int) -> None:
        super().__init__()
        self._model, self._osl, self._left, self._requests = model, osl, left, requests
        self._ended = threading.Event()
        self._client = InferenceServerClient(url)
        self._client.start_stream(self._take)
        self.streams: list[dict[str, object]] = []
        self.messages = 0
        self._arrived: list[int] = []
        self._results: list[object] = []

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
        inputs = [
            _tensor("text_input", "BYTES", [b"x"]),
            _tensor("max_tokens", "INT32", [self._osl]),
        ]
        sent_ns = time.perf_counter_ns()
        self._client.async_stream_infer(self._model, inputs)
        self._ended.wait(60.0)
        texts = [result.as_numpy("text_output").ravel()[0] for result in self._results]  # type: ignore[attr-defined]
        stamps = [[int(part) for part in text.split()] for text in texts]
        self.messages += len(stamps)
        self.streams.append(
            {
                "asked": self._osl,
                "request_sent_ns": sent_ns,
                "request_came_ns": stamps[0][1] if stamps else 0,
                "sent_ns": [sent for sent, _, _ in stamps],
                "arrived_ns": self._arrived,
                "numbers": [number for _, _, number in stamps],
            }
        )


def _tensor(name: str, kind: str, values: list[object]) -> InferInput:
    tensor = InferInput(name, [1], kind)
    tensor.set_data_from_numpy(np.array(values, dtype=object if kind == "BYTES" else np.int32))
    return tensor


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _main(url: str, model: str, concurrency: int, osl: int, requests: int) -> None:
    left = count()
    streams = [_Stream(url, model, osl, left, requests) for _ in range(concurrency)]
    cpu_s, started_s = _cpu_s(), time.perf_counter()
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()
    told = {
        "cpu_s": _cpu_s() - cpu_s,
        "wall_s": time.perf_counter() - started_s,
        "messages": sum(stream.messages for stream in streams),
        "streams": [one for stream in streams for one in stream.streams],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
