"""The receiver on a well-kept library: Triton's gRPC streams as raw bytes through grpc.aio.

Without (de)serialisers grpc.aio hands over each message as bytes. A stamp is taken when Python
reads the message. One HTTP/2 connection carries several streams (`STREAMS_PER_CHANNEL`): one
connection for all would serialise them, one for each would cost a wake-up for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from time import perf_counter_ns
from typing import Any, Final

import grpc

from perfgate.errors import LoadError
from perfgate.load.clients import Clients
from perfgate.load.heartbeat import Heartbeat
from perfgate.load.http2 import HALF_CLOSED
from perfgate.load.spool import DRAIN, Ending, Exchange
from perfgate.load.wire import CONNECT_S, RECONNECT_S, STREAM_METHOD, ending_of, unreachable
from perfgate.traffic.pace import NEVER

STREAMS_PER_CHANNEL = 32
WATCH_S: Final = 0.1
PART_S: Final = 2.0


class StreamEndedError(Exception):
    """The server half-closed a stream that owed a response."""


_BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, StreamEndedError)
_OPTIONS = (
    # Channels to one address share one connection unless each has a pool of its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    # A proxy between client and server would be measured too.
    ("grpc.enable_http_proxy", 0),
)

Stream = Any  # grpc.aio.StreamStreamCall; grpc ships no types


def run(clients: Clients, heartbeat: Heartbeat, ready: Any) -> None:
    """Connect, call `ready`, wait for the start, drive the load until it is stopped."""
    asyncio.run(_Loop(clients, heartbeat).run(ready))


class _Loop:
    """The clients of a load on one asyncio event loop."""

    def __init__(self, clients: Clients, heartbeat: Heartbeat) -> None:
        self._clients = clients
        self._heartbeat = heartbeat
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, asyncio.Future[Exchange]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._start_ns = 0
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        clients.on_stop = self._stopped.set

    async def run(self, ready: Any) -> None:
        self._listen_to_parent()
        plan = self._clients.plan
        try:
            self._receiver = _Channels(plan.address, plan.concurrency)
            await self._receiver.connect()
            for client in range(plan.concurrency):
                self._streams[client] = await self._receiver.open(client)
        except LoadError as error:
            self._clients.faults.append(str(error))
        else:
            await self._drive(ready)

    async def _drive(self, ready: Any) -> None:
        self._heartbeat.start(perf_counter_ns())
        watchers = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch())]
        ready()
        await self._started.wait()
        self._start_ns = self._heartbeat.await_start()
        clients = [
            asyncio.create_task(self._client(client))
            for client in range(self._clients.plan.concurrency)
        ]
        await self._stopped.wait()
        if self._clients.drained:
            # A stream cut off in its midst can bring Triton down.
            await asyncio.wait([asyncio.create_task(_part(s)) for s in self._streams.values()])
        for task in (*clients, *watchers):
            task.cancel()
        outcomes = await asyncio.gather(*clients, *watchers, return_exceptions=True)
        self._clients.faults.extend(
            f"the load client itself failed: {outcome!r}"
            for outcome in outcomes
            if isinstance(outcome, Exception)
        )

    async def _client(self, client: int) -> None:
        """Send, receive to the end, send again, at once or when the next request is due."""
        free_ns = self._start_ns
        while not self._clients.stopped:
            exchange = self._clients.draw(client, free_ns) or await self._wait(client)
            await self._converse(client, exchange)
            self._clients.settle(exchange)
            free_ns = exchange.finished_ns
            if exchange.ending is Ending.STOPPED:
                return
            if exchange.ending is not Ending.FINAL:
                self._streams[client].cancel()
                try:
                    self._streams[client] = await self._receiver.open(client)
                except LoadError as error:
                    self._clients.fail(str(error))

    async def _wait(self, client: int) -> Exchange:
        """What the client sends when something is due; never returns once the load is ending."""
        self._waiting[client] = asyncio.get_running_loop().create_future()
        self._send_due()
        return await self._waiting[client]

    def _send_due(self) -> None:
        """Wake the clients whose requests are due, and see to it that the next one is woken."""
        while (exchange := self._clients.due(perf_counter_ns())) is not None:
            self._waiting[exchange.client].set_result(exchange)
        if self._alarm is not None:
            self._alarm.cancel()
        if (due_ns := self._clients.next_due_ns) < NEVER:
            delay_s = (due_ns - perf_counter_ns()) / 1e9
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._send_due)

    async def _converse(self, client: int, exchange: Exchange) -> None:
        """Exchange one request's messages; never raises, the exchange says how it ended."""
        stream = self._streams[client]
        exchange.sent_ns = perf_counter_ns()
        try:
            await stream.write(self._clients.plan.requests[exchange.index])
            exchange.ending = await _receive(stream, exchange)
            exchange.finished_ns = exchange.stamps_ns[-1]
        except _BROKEN as error:
            exchange.ending, exchange.error = Ending.BROKEN, _describe_break(error)
        except asyncio.CancelledError:
            # With an error it was given up by `_watch`, without one the load was stopped.
            exchange.ending = Ending.DEADLINE if exchange.error else Ending.STOPPED
        exchange.finished_ns = exchange.finished_ns or perf_counter_ns()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(max(0, self._heartbeat.due_ns - perf_counter_ns()) / 1e9)
            self._heartbeat.beat()

    async def _watch(self) -> None:
        """End requests past their deadline, and the whole load when nothing arrives at all."""
        await self._started.wait()
        while True:
            await asyncio.sleep(WATCH_S)
            now_ns = perf_counter_ns()
            for exchange in self._clients.overdue(now_ns):
                self._streams[exchange.client].cancel()
            self._clients.watch(now_ns)

    def _listen_to_parent(self) -> None:
        """Start, drain or, at the end of standard input, stop."""
        stdin = sys.stdin.fileno()
        loop = asyncio.get_running_loop()

        def on_input() -> None:
            words = os.read(stdin, 64)
            if not words:
                loop.remove_reader(stdin)
                self._clients.stop()
            if DRAIN in words:
                self._clients.drain()
            self._started.set()

        loop.add_reader(stdin, on_input)


class _Channels:
    """Connections to one server, and a bidirectional stream for each client."""

    def __init__(self, address: str, clients: int) -> None:
        self._address = address
        count = -(-clients // STREAMS_PER_CHANNEL)
        self._channels = [
            grpc.aio.insecure_channel(address, options=_OPTIONS) for _ in range(count)
        ]
        self._methods = [
            channel.stream_stream(
                STREAM_METHOD, request_serializer=None, response_deserializer=None
            )
            for channel in self._channels
        ]

    async def connect(self) -> None:
        """Return when every connection stands, so that no request pays for one."""
        await asyncio.gather(*(self._ready(channel, CONNECT_S) for channel in self._channels))

    async def open(self, client: int) -> Stream:
        """Open a stream for `client` on its connection, waiting briefly for a lost one."""
        # Neighbours share a connection, so that the first requests arrive in their order.
        number = client // STREAMS_PER_CHANNEL
        await self._ready(self._channels[number], RECONNECT_S)
        return self._methods[number]()

    async def _ready(self, channel: Any, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(channel.channel_ready(), timeout_s)
        except TimeoutError:
            raise unreachable(self._address, timeout_s) from None


async def _part(stream: Stream) -> None:
    """Let the server end a stream that has nothing more to wait for."""
    with contextlib.suppress(*_BROKEN, TimeoutError):
        await asyncio.wait_for(stream.done_writing(), PART_S)
        await asyncio.wait_for(stream.read(), PART_S)


async def _receive(stream: Stream, exchange: Exchange) -> Ending:
    """Append each message and its stamp until the last one: the hot path."""
    read, clock = stream.read, perf_counter_ns
    stamp, keep = exchange.stamps_ns.append, exchange.messages.append
    while True:
        message = await read()
        now_ns = clock()
        if message is grpc.aio.EOF:
            raise StreamEndedError
        stamp(now_ns)
        keep(message)
        if (ending := ending_of(message)) is not None:
            return ending


def _describe_break(error: BaseException) -> str:
    """Say in one line why a stream broke."""
    match error:
        case grpc.aio.AioRpcError():
            return f"{error.code().name}: {error.details()}"
        case StreamEndedError():
            return HALF_CLOSED
        case _:
            return f"the stream was already closed: {error}"
