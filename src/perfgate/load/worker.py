"""The process that drives the load: `python -m perfgate.load.worker FOLDER`.

It speaks with its parent by files (`spool`), counters (`control`) and its standard input: the
first byte starts the clock, the end of input stops the load. So it also stops when the parent
dies. Per message it appends a stamp and the raw bytes; nothing is parsed, logged or queued.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from perfgate.errors import LoadError
from perfgate.load.control import Cell, ControlBlock
from perfgate.load.heartbeat import Heartbeat
from perfgate.load.receiver import BROKEN, GrpcReceiver, Stream, describe_break, receive
from perfgate.load.spool import (
    CONTROL_FILE,
    PLAN_FILE,
    SPOOL_FILE,
    End,
    Ending,
    Exchange,
    Plan,
    SpoolWriter,
    read_plan,
)

WATCH_S: Final = 0.1


@dataclass(slots=True)
class InFlight:
    """A request under way and the stream that carries it."""

    exchange: Exchange
    stream: Stream
    overdue: bool = False


class Worker:
    """Closed-loop clients on one event loop."""

    def __init__(
        self, plan: Plan, receiver: GrpcReceiver, spool: SpoolWriter, control: ControlBlock
    ) -> None:
        self._plan = plan
        self._receiver = receiver
        self._spool = spool
        self._control = control
        self._in_flight: dict[int, InFlight] = {}
        self._drawn = 0
        self._failed = 0
        self._received = 0
        self._start_ns = 0
        self._heartbeat = Heartbeat(spool, control)
        self._faults: list[str] = []
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        """Connect, wait for the start, drive the load until it is stopped."""
        try:
            await self._receiver.connect()
            streams = [
                await self._receiver.open(client) for client in range(self._plan.concurrency)
            ]
        except LoadError as error:
            self._faults.append(str(error))
        else:
            await self._drive(streams)
        self._heartbeat.flush()
        self._spool.write(End(self._faults))

    async def _drive(self, streams: list[Stream]) -> None:
        watchers = [asyncio.create_task(self._heartbeat.run()), asyncio.create_task(self._watch())]
        self._control[Cell.READY] = 1
        await self.started.wait()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._start_ns = perf_counter_ns()
        clients = [
            asyncio.create_task(self._client(client, stream))
            for client, stream in enumerate(streams)
        ]
        await self.stopped.wait()
        for task in (*clients, *watchers):
            task.cancel()
        outcomes = await asyncio.gather(*clients, *watchers, return_exceptions=True)
        self._faults.extend(
            f"the load client itself failed: {outcome!r}"
            for outcome in outcomes
            if isinstance(outcome, Exception)
        )

    def _fail(self, fault: str) -> None:
        if not self.stopped.is_set():
            self._faults.append(fault)
            self.stopped.set()

    # --- One client -------------------------------------------------------------------------

    async def _client(self, client: int, stream: Stream) -> None:
        """Send, receive to the end, send again: always one request in flight."""
        due_ns = self._start_ns
        while not self.stopped.is_set():
            if (exchange := self._draw(client, due_ns)) is None:
                return
            await self._converse(stream, exchange)
            self._settle(exchange)
            due_ns = exchange.finished_ns
            if exchange.ending is Ending.STOPPED:
                return
            if exchange.ending is not Ending.FINAL:
                stream.cancel()
                try:
                    stream = await self._receiver.open(client)
                except LoadError as error:
                    self._fail(str(error))
                    return

    def _draw(self, client: int, due_ns: int) -> Exchange | None:
        if self._drawn < self._plan.concurrency:
            index = client
        elif self._drawn < len(self._plan.requests):
            index = self._drawn
        else:
            self._fail(
                f"all {len(self._plan.requests)} prompts were used before the load was stopped;"
                " a prompt sent twice could be answered from the KV cache. Plan more prompts."
            )
            return None
        self._drawn += 1
        return Exchange(index=index, client=client, due_ns=due_ns, stamps_ns=[], messages=[])

    async def _converse(self, stream: Stream, exchange: Exchange) -> None:
        """Exchange one request's messages; never raises, the exchange says how it ended."""
        flight = self._in_flight[exchange.client] = InFlight(exchange, stream)
        exchange.sent_ns = perf_counter_ns()
        try:
            await stream.write(self._plan.requests[exchange.index])
            exchange.ending = await receive(stream, exchange)
            exchange.finished_ns = exchange.stamps_ns[-1]
        except BROKEN as error:
            exchange.ending, exchange.error = Ending.BROKEN, describe_break(error)
        except asyncio.CancelledError:
            exchange.ending = Ending.DEADLINE if flight.overdue else Ending.STOPPED
        exchange.finished_ns = exchange.finished_ns or perf_counter_ns()

    def _settle(self, exchange: Exchange) -> None:
        """Spool an ended exchange and count it."""
        del self._in_flight[exchange.client]
        self._received += len(exchange.messages)
        self._spool.write(exchange)
        if exchange.ending is Ending.STOPPED:
            return
        self._count(exchange)
        if exchange.ending is not Ending.FINAL:
            self._failed += 1
        if self._failed >= self._plan.concurrency:
            self._fail(
                f"gave up after {self._failed} failed requests, as many as there are clients;"
                f" the last with: {exchange.error or 'an error message'}"
            )

    def _count(self, exchange: Exchange) -> None:
        control = self._control
        control[Cell.FINISHED] += 1
        if exchange.index < self._plan.concurrency:
            if control[Cell.FIRSTS] + 1 == self._plan.concurrency:
                control[Cell.FINISHED_AT_MARK] = control[Cell.FINISHED]
            control[Cell.FIRSTS] += 1

    # --- What watches over them -------------------------------------------------------------

    async def _watch(self) -> None:
        """End requests past their deadline, and the whole load when nothing arrives at all."""
        await self.started.wait()
        seen, seen_ns = -1, perf_counter_ns()
        while True:
            await asyncio.sleep(WATCH_S)
            now_ns = perf_counter_ns()
            self._cancel_overdue(now_ns)
            received = self._received + sum(
                len(flight.exchange.messages) for flight in self._in_flight.values()
            )
            if received != seen:
                seen, seen_ns = received, now_ns
            elif now_ns - seen_ns > self._plan.stall_s * 1e9:
                self._fail(
                    f"stalled: no response of any kind for {self._plan.stall_s:g} s with"
                    f" {len(self._in_flight)} requests in flight"
                )

    def _cancel_overdue(self, now_ns: int) -> None:
        limit_ns = now_ns - int(self._plan.deadline_s * 1e9)
        for flight in self._in_flight.values():
            if flight.exchange.sent_ns < limit_ns and not flight.overdue:
                flight.overdue = True
                flight.exchange.error = f"no final response within {self._plan.deadline_s:g} s"
                flight.stream.cancel()


async def drive(folder: Path) -> None:
    """Run the plan in `folder` under the parent's control."""
    plan = read_plan(folder / PLAN_FILE)
    spool = SpoolWriter(folder / SPOOL_FILE)
    receiver = GrpcReceiver(plan.address, plan.concurrency)
    worker = Worker(plan, receiver, spool, ControlBlock(folder / CONTROL_FILE))
    listen_to_parent(worker)
    await worker.run()
    spool.close()


def listen_to_parent(worker: Worker) -> None:
    """Start at the first byte of standard input, stop at its end."""
    stdin = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        if os.read(stdin, 64):
            worker.started.set()
        else:
            loop.remove_reader(stdin)
            worker.stopped.set()
            worker.started.set()

    loop.add_reader(stdin, on_input)


def main(folder: Path) -> None:
    """Drive the load, then leave at once."""
    parent = os.getppid()
    # Ctrl-C reaches the whole process group; stopping in order is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(drive(folder))
    if os.getppid() != parent:  # it was killed: nobody else is left to tidy up
        shutil.rmtree(folder)
    sys.stderr.flush()
    # Everything is on disk. gRPC's exit handlers may wait for a server that is gone.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
