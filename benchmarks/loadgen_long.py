"""One long load, flat out, on a Triton that numbers its tokens: none lost, doubled or reordered.

Each request is checked as soon as it has ended and then forgotten, so memory does not grow with the
load. Every run, whatever it found, is added to docs/data/loadgen/long-run.json.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perfgate import codec
from perfgate.errors import LoadError
from perfgate.load.calibration import read_stamps
from perfgate.load.control import Cell
from perfgate.load.dialects import learn_dialect
from perfgate.load.planner import plan_requests
from perfgate.load.process import WorkerProcess
from perfgate.load.spool import End, Ending, Exchange, Frame, Plan, Receiver
from perfgate.model import Protocol, Server, Workload
from perfgate.provenance import versions
from perfgate.serving.stamped import serve_stamped
from perfgate.traffic.schedule import plan_schedule

LOG = Path(__file__).parents[1] / "docs" / "data" / "loadgen" / "long-run.json"
TOKENS = 10_000_000
WORKLOAD = Workload(concurrency=64, isl=4, osl=512)
SPARE = 4 * WORKLOAD.concurrency  # requests sent until the load has drained
POLL_S = 0.5
TELL_S = 30.0
PATIENCE_S = 600.0  # the machine may be busy: this is no run to measure speed by


@dataclass(kw_only=True)
class Tally:
    """What has come so far."""

    requests: int = 0
    failed: int = 0
    asked: int = 0
    tokens: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0

    @property
    def clean(self) -> bool:
        """Whether every token asked for came once, in order."""
        wrong = (self.failed, self.lost, self.doubled, self.reordered)
        return not any(wrong) and self.tokens == self.asked > 0

    def add(self, exchange: Exchange, asked: int) -> None:
        """Check one request, token by token."""
        stream = read_stamps(exchange, Protocol.GRPC, asked=asked)
        self.requests += 1
        self.failed += exchange.ending is not Ending.FINAL
        self.asked += asked
        self.tokens += len(stream.numbers)
        self.lost += stream.lost
        self.doubled += stream.doubled
        self.reordered += stream.reordered


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """One entry of the log."""

    at: str
    command: str
    receiver: Receiver
    concurrency: int
    duration_s: float
    tally: Tally
    faults: list[str]
    worker_peak_mib: float
    parent_peak_mib: float
    versions: dict[str, str]


def long_run(tokens: int = TOKENS) -> int:
    """Drive at least `tokens` tokens, check them, add to the log; 1 if one was not as it should."""
    tally, ends = Tally(), []
    at, started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="perfgate-long-") as folder,
        serve_stamped(step_s=0.0, workdir=Path(folder)) as server,
    ):
        plan, lengths = plan_load(server, tokens)
        with WorkerProcess(plan, Path(folder)) as worker:
            worker.start_clock(time.perf_counter_ns())
            for frame in frames(worker, len(lengths) - SPARE, started):
                if isinstance(frame, Exchange):
                    tally.add(frame, lengths[frame.index])
                elif isinstance(frame, End):
                    ends.append(frame)
    (end,) = ends
    run = LongRun(
        at=at,
        command=f"python benchmarks/loadgen.py --long {tokens}",
        receiver=plan.receiver,
        concurrency=plan.concurrency,
        duration_s=time.monotonic() - started,
        tally=tally,
        faults=end.faults,
        worker_peak_mib=end.peak_kib / 1024,
        parent_peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        versions=versions(),
    )
    keep(run)
    print(codec.to_pretty_json(run).decode())
    return 0 if tally.clean and not end.faults else 1


def plan_load(server: Server, tokens: int) -> tuple[Plan, tuple[int, ...]]:
    """A load of so many tokens, and how many each of its requests asks for."""
    texts = [f"prompt {number}" for number in range(-(-tokens // WORKLOAD.osl) + 2 * SPARE)]
    schedule = plan_schedule(WORKLOAD, len(texts))
    plan = Plan(
        address=server.grpc_url,
        receiver=Receiver.FAST,
        concurrency=WORKLOAD.concurrency,
        ramp=1,
        deadline_s=PATIENCE_S,
        stall_s=PATIENCE_S,
        requests=plan_requests(WORKLOAD, schedule, texts, learn_dialect(server).serialise),
    )
    return plan, schedule.osl


def frames(worker: WorkerProcess, requests: int, started: float) -> Iterator[Frame]:
    """What the worker records, as it comes; after `requests` requests the load may end."""
    tell_s = started
    with suppress(LoadError):  # the last frame says why
        while (done := worker[Cell.FINISHED]) < requests:
            worker.require_alive()
            yield from worker.frames()
            if time.monotonic() > tell_s:
                tell_s = time.monotonic() + TELL_S
                print(f"{tell_s - started:6.0f} s  {done} of {requests} requests", flush=True)
            time.sleep(POLL_S)
    worker.drain()
    while not worker.ended:
        time.sleep(POLL_S)
    yield from worker.frames()


def keep(run: LongRun) -> None:
    """Add the run to the log."""
    runs = json.loads(LOG.read_bytes()) if LOG.exists() else []
    LOG.parent.mkdir(parents=True, exist_ok=True)
    codec.write_atomic(LOG, codec.to_pretty_json([*runs, run]))
