"""Load from several machines: one worker process on each node of a Ray cluster.

Ray only carries: it starts an actor on each node, which drives a worker process as this machine
would, and brings its spool back after the run. Nothing passes through Ray while the load runs but
a few counters. Needs the extra `ray`, and the same perfgate on every node.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import msgspec
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from perfgate.errors import LoadError, UsageError
from perfgate.load.clocks import ClockMap, Offset, Ping, read_offset
from perfgate.load.control import Cell
from perfgate.load.fleet import Crew, Worker
from perfgate.load.process import WorkerProcess
from perfgate.load.shards import shard
from perfgate.load.spool import SPOOL_FILE, Beats, End, Exchange, Frame, Plan, SpoolReader

PINGS: Final = 200
ANSWER_S: Final = 20.0  # a node that is silent for so long is lost
BOOT_S: Final = 120.0  # Ray starts a process, which imports perfgate
LOOK_S: Final = 0.05
START_LEAD_S: Final = 1.0
_CHUNK_BYTES: Final = 8_000_000


class Node:
    """An actor: what a node does for the machine that asked for the load."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="perfgate-load-")
        self._process: WorkerProcess | None = None

    def version(self) -> str:
        """Which perfgate would drive the load."""
        return version("perfgate")

    def now_ns(self) -> int:
        """What this node's clock shows."""
        return time.perf_counter_ns()

    def start(self, plan: bytes) -> str:
        """Start and connect the worker; what went wrong, or nothing."""
        decoded = msgspec.msgpack.decode(plan, type=Plan)
        process = WorkerProcess(decoded, Path(self._folder.name))
        try:
            process.__enter__()
        except LoadError as error:
            return str(error)
        self._process = process
        return ""

    def start_clock(self, start_ns: int) -> None:
        """Let the first requests go at `start_ns` of this node's clock."""
        self._worker.start_clock(start_ns)

    def drain(self) -> None:
        """Tell the worker to end once the requests in flight have."""
        self._worker.drain()

    def look(self) -> tuple[list[int], bool, str]:
        """All counters, whether the worker has ended, and why it is lost, if it is."""
        worker, lost = self._worker, ""
        counters, ended = [worker[cell] for cell in Cell], worker.ended
        try:
            worker.require_alive()
        except LoadError as error:
            lost = str(error)
        return counters, ended, lost

    def stop(self) -> str:
        """End the worker; what is to be said if its spool has no last word."""
        self._worker.stop()
        return self._worker.last_word()

    def read(self, offset: int) -> bytes:
        """A piece of the spool."""
        with self._worker.spool.open("rb") as file:
            file.seek(offset)
            return file.read(_CHUNK_BYTES)

    def leave(self) -> None:
        """Leave no process and no file."""
        if self._process is not None:
            self._process.__exit__()
        self._folder.cleanup()

    @property
    def _worker(self) -> WorkerProcess:
        if self._process is None:
            msg = "the load worker was never started"
            raise LoadError(msg)
        return self._process


class RayWorker:
    """A worker on another machine, as if it were here: its times are translated."""

    start_lead_s = START_LEAD_S

    def __init__(self, plan: Plan, spool: Path, node: dict[str, Any]) -> None:
        self.host = f"{node['NodeName']} ({node['NodeID'][:8]})"
        self._plan = plan
        self._parent = spool
        self._node_id = node["NodeID"]
        self._seen: tuple[list[int], bool, str] = ([0] * len(Cell), False, "")
        self._seen_s = 0.0
        self._lost = ""
        self._last_word = ""
        self._after: Offset | None = None

    def __enter__(self) -> Self:
        """Start an actor on the node and a worker in it, and read the node's clock."""
        self._parent.mkdir(parents=True, exist_ok=True)
        self._folder = TemporaryDirectory(prefix="load-", dir=self._parent)
        here = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
        self._actor = ray.remote(Node).options(scheduling_strategy=here, num_cpus=1).remote()
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End worker and actor."""
        with suppress(LoadError):  # the node is gone: its worker has seen the end of its input
            self._ask(self._actor.leave)
        ray.kill(self._actor)
        self._folder.cleanup()

    def __getitem__(self, cell: Cell) -> int:
        """Read one of its counters, as they were a moment ago."""
        self._look()
        return self._seen[0][cell]

    @property
    def clock_uncertainty_s(self) -> float:
        """How far its times may be off."""
        return self._clock.uncertainty_ns / 1e9

    def start_clock(self, start_ns: int) -> None:
        """Let the first requests go at `start_ns` of this machine's clock."""
        self._actor.start_clock.remote(start_ns + self._before.offset_ns)

    def drain(self) -> None:
        """Tell it to end once the requests in flight have."""
        self._actor.drain.remote()

    @property
    def ended(self) -> bool:
        """Whether it is gone, by its own will or not."""
        self._look()
        return bool(self._lost) or self._seen[1]

    def require_alive(self) -> None:
        """Raise LoadError if it has ended, stands still, or its node is lost."""
        self._look()
        if fault := self._lost or self._seen[2]:
            raise LoadError(f"{self.host}: {fault}")

    def stop(self) -> None:
        """End it, and read its clock again."""
        try:
            self._last_word = self._ask(self._actor.stop)
            self._after = self._read_clock()
        except LoadError as error:
            self._lost = self._lost or str(error)

    def frames(self) -> Iterator[Frame]:
        """Bring its spool here and yield what is in it, in times of this machine."""
        frame: Frame | None = None
        for frame in SpoolReader(self._fetch()):
            yield _translate(frame, self._clock.to_here)
        if self._lost or not isinstance(frame, End):
            yield End([f"{self.host}: {self._lost or self._last_word}"])

    @property
    def _clock(self) -> ClockMap:
        return ClockMap(self._before, self._after or self._before)

    def _fetch(self) -> Path:
        path = Path(self._folder.name) / SPOOL_FILE
        with path.open("wb") as file:
            try:
                while piece := self._ask(partial(self._actor.read.remote, file.tell())):
                    file.write(piece)
            except LoadError as error:
                self._lost = self._lost or str(error)
        return path

    def _connect(self) -> None:
        there, here = self._ask(self._actor.version, timeout_s=BOOT_S), version("perfgate")
        if there != here:
            msg = f"{self.host} has perfgate {there}, this machine {here}: they must be the same"
            raise LoadError(msg)
        encoded = msgspec.msgpack.encode(self._plan)
        if fault := self._ask(partial(self._actor.start.remote, encoded), timeout_s=BOOT_S):
            raise LoadError(f"{self.host}: {fault}")
        self._before = self._read_clock()

    def _look(self) -> None:
        if self._lost or time.monotonic() - self._seen_s < LOOK_S:
            return
        try:
            self._seen = self._ask(self._actor.look)
        except LoadError as error:
            self._lost = str(error)
        self._seen_s = time.monotonic()

    def _read_clock(self) -> Offset:
        pings = []
        for _ in range(PINGS):
            sent_ns = time.perf_counter_ns()
            there_ns = self._ask(self._actor.now_ns)
            pings.append(Ping(sent_ns, there_ns, time.perf_counter_ns()))
        return read_offset(pings)

    def _ask(self, method: Any, timeout_s: float = ANSWER_S) -> Any:
        """Call one of the actor's methods; LoadError if the node does not answer."""
        call = method if isinstance(method, partial) else method.remote
        try:
            return ray.get(call(), timeout=timeout_s)
        except GetTimeoutError as error:
            msg = f"the load machine gave no answer for {timeout_s:g} s"
            raise LoadError(msg) from error
        except RayError as error:
            msg = f"the load machine was lost: {str(error).strip().splitlines()[0]}"
            raise LoadError(msg) from error


def on_ray(address: str, workers: int | None) -> Crew:
    """One worker on each node of the cluster that has a CPU to give, or `workers` in turn on them.

    Raises UsageError if there is no such cluster.
    """
    join(address)

    def crew(plan: Plan, spool: Path) -> Sequence[Worker]:
        places = places_for(_nodes(plan.address), workers)[: plan.concurrency]
        parts = shard(plan, len(places))
        return [RayWorker(part, spool, node) for part, node in zip(parts, places, strict=True)]

    return crew


def join(address: str) -> None:
    """Join the cluster, unless this process is in one; UsageError if there is none."""
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, namespace="perfgate", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        rule = f"a Ray cluster must answer there: {str(error).strip().splitlines()[0]}"
        raise UsageError("load.ray", address, rule) from error


def places_for(nodes: Sequence[dict[str, Any]], workers: int | None) -> list[dict[str, Any]]:
    """Each worker's node: one on each, or `workers` in turn where there are CPUs left.

    Raises UsageError for more workers than CPUs.
    """
    cpus = [int(node["Resources"]["CPU"]) for node in nodes]
    rounds = range(max(cpus, default=0))
    places = [node for turn in rounds for node, own in zip(nodes, cpus, strict=True) if turn < own]
    count = len(nodes) if workers is None else workers
    if count > len(places):
        rule = f"the Ray cluster's nodes have {len(places)} CPUs to give, one for each worker"
        raise UsageError("load.workers", count, rule)
    return places[:count]


def _nodes(server: str) -> list[dict[str, Any]]:
    """The nodes that can send load to `server`; LoadError if there are none."""
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    here = ray.util.get_node_ip_address()
    away = [n["NodeManagerAddress"] for n in alive if n["NodeManagerAddress"] != here]
    if _is_loopback(server) and away:
        msg = (
            f"the server listens on {server}, where {away[0]} cannot reach it: measure a server"
            " with an address of its own (--triton-url grpc://HOST:PORT)"
        )
        raise LoadError(msg)
    if not alive:
        msg = "no node of the Ray cluster has a CPU to give: start them with --num-cpus=1 or more"
        raise LoadError(msg)
    return sorted(alive, key=lambda node: str(node["NodeID"]))


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _translate(frame: Frame, here: Callable[[int], int]) -> Frame:
    """Put a frame's times into this machine's clock."""
    match frame:
        case Exchange():
            for name in ("due_ns", "sent_ns", "finished_ns"):
                if at_ns := getattr(frame, name):
                    setattr(frame, name, here(at_ns))
            frame.stamps_ns = [here(at_ns) for at_ns in frame.stamps_ns]
            return frame
        case Beats():
            return Beats([msgspec.structs.replace(b, at_ns=here(b.at_ns)) for b in frame.beats])
        case End():
            return frame
