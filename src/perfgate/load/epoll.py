"""The fast receiver: sockets of our own on one epoll loop, stamped by the kernel.

No thread and no future stands between a packet and its stamp, and one that is read late is stamped
no later: so the loop lets packets gather, and reads many in one turn. What it reads is understood
by `http2` or `http1`, which know nothing of sockets.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable
from time import perf_counter_ns, sleep
from typing import Final

from perfgate.errors import LoadError
from perfgate.load.clients import Clients
from perfgate.load.heartbeat import Heartbeat
from perfgate.load.kernel_clock import ANCILLARY_BYTES, KernelClock, request_stamps
from perfgate.load.spool import DRAIN, START, Ending, Exchange
from perfgate.load.wire import (
    CONNECT_S,
    NOT_TAKEN,
    RECONNECT_S,
    STREAM_METHOD,
    Connection,
    ProtocolError,
    ending_of,
    http_ending_of,
    unreachable,
)
from perfgate.model import Protocol

# A turn reads what came in this time. It costs a next request so much at most, a stamp nothing: on
# a connection of one stream no message waits for another, so that each read has its own stamp.
GATHER_NS: Final = 1_000_000
STREAMS_PER_CONNECTION: Final = 1
_READ_BYTES: Final = 65_536
PART_S: Final = 2.0
_WATCH_NS: Final = 100_000_000


def run(clients: Clients, heartbeat: Heartbeat, ready: Callable[[], None]) -> None:
    """Connect, call `ready`, wait for the start, drive the load until it is stopped."""
    loop = _Loop(clients, heartbeat)
    try:
        loop.connect()
    except LoadError as error:
        clients.faults.append(str(error))
        return
    ready()
    loop.drive()


class _Link:
    """A socket and the connection on it."""

    def __init__(self, address: str, connection: Connection, timeout_s: float) -> None:
        self.connection = connection
        self._writing = False
        host, _, port = address.rpartition(":")
        try:
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request_stamps(self.socket)
            while not connection.ready:
                self.socket.sendall(connection.out)
                connection.out.clear()
                if not (data := self.socket.recv(_READ_BYTES)):
                    raise unreachable(address, timeout_s)
                connection.receive(data, 0)
        except (OSError, ProtocolError) as error:
            raise unreachable(address, timeout_s) from error
        self.socket.setblocking(False)  # noqa: FBT003 - the method's own argument

    def write(self, epoll: select.epoll) -> None:
        """Send what is to be sent, the rest when the socket takes more; OSError if it is gone."""
        out = self.connection.out
        while out:
            try:
                del out[: self.socket.send(out)]
            except BlockingIOError:
                break
        if self._writing != bool(out):
            self._writing = bool(out)
            wanted = select.EPOLLIN | (select.EPOLLOUT if out else 0)
            epoll.modify(self.socket, wanted)


class _Client:
    """One client: its stream and the request it is waiting for."""

    def __init__(self, loop: _Loop, number: int) -> None:
        self._loop = loop
        self._clients = loop.clients
        grpc = loop.clients.plan.protocol is Protocol.GRPC
        self._ending_of = ending_of if grpc else http_ending_of
        self._number = number
        self._exchange: Exchange | None = None
        self._stream = 0
        self.link: _Link | None = None

    def open(self, link: _Link) -> None:
        """Open a stream on `link`."""
        self.link = link
        self._stream = link.connection.open(self._deliver, self._ended)

    def begin(self, free_ns: int) -> None:
        """Send the next request, unless it is to wait or the load is over."""
        exchange = self._clients.draw(self._number, free_ns)
        if exchange is not None:
            self.send(exchange)

    def send(self, exchange: Exchange) -> None:
        """Send a request on the stream, or on a new one if that has ended."""
        self._exchange = exchange
        if self.link is not None and not self.link.connection.calls:
            self.link = None  # the last answer was the connection's last
        if self.link is None and not self._loop.attach(self):
            return
        assert self.link is not None  # noqa: S101 - it was there, or has just been attached
        exchange.sent_ns = perf_counter_ns()
        self._loop.dirty[self.link] = None
        self.link.connection.send(self._stream, self._clients.plan.requests[exchange.index])

    def part(self) -> None:
        """Let the server end the stream: it has nothing more to wait for."""
        if self.link is not None:
            self.link.connection.half_close(self._stream)
            self._loop.dirty[self.link] = None

    def give_up(self, ending: Ending, now_ns: int) -> None:
        """End the request in flight without an answer, and its stream with it."""
        if self._exchange is not None:
            self._drop()
            self._finish(ending, now_ns)

    def _drop(self) -> None:
        if self.link is not None:
            self.link.connection.cancel(self._stream)
            self._loop.dirty[self.link] = None
            self.link = None

    def _deliver(self, stamp_ns: int, message: bytes) -> None:
        """Keep a message and its stamp: the hot path."""
        exchange = self._exchange
        if exchange is None:
            return  # a response that nobody waits for; the next request finds it out
        exchange.stamps_ns.append(stamp_ns)
        exchange.messages.append(message)
        if (ending := self._ending_of(message)) is not None:
            if ending is not Ending.FINAL:
                self._drop()
            self._finish(ending, stamp_ns)

    def _ended(self, reason: str) -> None:
        self.link = None
        if self._exchange is None:
            return
        if reason == NOT_TAKEN:
            self._loop.reuse = False  # where it closed once without a word it will again
            self.send(self._exchange)
        else:
            self._exchange.error = reason
            self._finish(Ending.BROKEN, perf_counter_ns())

    def _finish(self, ending: Ending, at_ns: int) -> None:
        """Send the next request first, then put the last one away, which takes longer."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.ending, exchange.finished_ns, self._exchange = ending, at_ns, None
        if ending is Ending.FINAL:
            if not self._loop.reuse:
                self._drop()
            self.begin(at_ns)
            self._clients.settle(exchange)
        else:
            self._clients.settle(exchange)
            if ending is not Ending.STOPPED:
                self.begin(at_ns)


class _Loop:
    """All clients and their connections."""

    def __init__(self, clients: Clients, heartbeat: Heartbeat) -> None:
        self.clients = clients
        self.dirty: dict[_Link, None] = {}  # links to be written, in order
        self.reuse = True  # whether the server answers a second request on a connection
        self._heartbeat = heartbeat
        self._clock = KernelClock()
        self._epoll = select.epoll()
        self._links: dict[int, _Link] = {}
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._all = [_Client(self, number) for number in range(clients.plan.concurrency)]
        self._stdin = sys.stdin.fileno()
        self._started = False
        self._watch_ns = 0
        self._read_ns = 0

    def connect(self) -> None:
        """Open every connection and every stream, so that no request pays for one."""
        link = self._link(CONNECT_S)
        for client in self._all:
            # Neighbours share a connection, so that the first requests arrive in their order.
            link = link if link.connection.room else self._link(CONNECT_S)
            client.open(link)
        self.dirty.update(dict.fromkeys(self._links.values()))
        self._write_dirty()
        self._heartbeat.start(perf_counter_ns())

    def drive(self) -> None:
        """Turn until the load is over."""
        self._epoll.register(self._stdin, select.EPOLLIN)
        while not self.clients.stopped:
            if self.clients.next_due_ns < self._heartbeat.due_ns:
                self._await_due()
                self._send_due()
                timeout_s = 0.0
            else:
                timeout_s = (self._heartbeat.due_ns - perf_counter_ns()) / 1e9
            self._turn(max(0.0, timeout_s))
            if perf_counter_ns() >= self._heartbeat.due_ns:
                self._heartbeat.beat()
                self._watch()
        self._part()
        if step_ns := self._clock.stepped_ns():
            self.clients.faults.append(
                f"the wall clock was set by {step_ns / 1e6:.1f} ms during the load: the kernel's"
                " arrival stamps cannot be trusted"
            )

    def _await_due(self) -> None:
        """Wait for the time of the next request, or for news from a socket.

        epoll counts in whole milliseconds; select, which can watch an epoll, in microseconds.
        """
        timeout_s = (self.clients.next_due_ns - perf_counter_ns()) / 1e9
        if timeout_s > 0:
            select.select((self._epoll,), (), (), timeout_s)

    def _send_due(self) -> None:
        while (exchange := self.clients.due(perf_counter_ns())) is not None:
            self._all[exchange.client].send(exchange)
        self._write_dirty()

    def _gather(self) -> bool:
        """Let packets gather since the last read; what is due meanwhile does not wait for them."""
        until_ns = self._read_ns + GATHER_NS
        gathered = False
        while (now_ns := perf_counter_ns()) < until_ns:
            gathered = True
            sleep(max(0, min(until_ns, self.clients.next_due_ns) - now_ns) / 1e9)
            self._send_due()
        return gathered

    def _turn(self, timeout_s: float) -> None:
        events = self._epoll.poll(timeout_s)
        if events and self._started:
            if self._gather():
                events = self._epoll.poll(0)
            self._read_ns = perf_counter_ns()
        for descriptor, _ in events:
            if self.clients.stopped and not self.clients.drained:
                break  # what comes after the end belongs to nobody
            if descriptor == self._stdin:
                self._listen_to_parent()
            elif link := self._links.get(descriptor):
                self._serve(link)
        self._write_dirty()

    def _part(self) -> None:
        """Take leave of the server: a stream cut off in its midst can bring Triton down."""
        now_ns = perf_counter_ns()
        for client in self._all:
            if self.clients.drained:
                client.part()
            else:
                client.give_up(Ending.STOPPED, now_ns)
        self._epoll.unregister(self._stdin)
        while any(link.connection.calls for link in self._links.values()) and self.clients.drained:
            self._turn(PART_S)
            if perf_counter_ns() - now_ns > PART_S * 1e9:
                return

    def attach(self, client: _Client) -> bool:
        """Give a client that lost its call another one; the load fails where that cannot be."""
        free = (one for one in self._links.values() if one.connection.room)
        try:
            link = next(free, None) or self._link(RECONNECT_S)
        except LoadError as error:
            self.clients.fail(str(error))
            return False
        client.open(link)
        self.dirty[link] = None
        return True

    def _link(self, timeout_s: float) -> _Link:
        address = self.clients.plan.address
        link = _Link(address, _connection(self.clients.plan.protocol, address), timeout_s)
        self._links[link.socket.fileno()] = link
        self._epoll.register(link.socket, select.EPOLLIN)
        return link

    def _serve(self, link: _Link) -> None:
        """Read what came on one connection and hand it on with its stamp."""
        try:
            # Into one buffer: a fresh one of this size would cost more than the read.
            size, ancillary, _, _ = link.socket.recvmsg_into([self._buffer], ANCILLARY_BYTES)
            if not size:
                self._lose(link, "UNAVAILABLE: the server closed the connection")
                return
            stamp_ns = self._clock.stamp(ancillary, perf_counter_ns())
            link.connection.receive(bytes(self._view[:size]), stamp_ns)
        except BlockingIOError:
            pass
        except (OSError, ProtocolError) as error:
            self._lose(link, f"UNAVAILABLE: {error}")
        if link.connection.out:
            self.dirty[link] = None

    def _lose(self, link: _Link, reason: str) -> None:
        self.dirty.pop(link, None)
        del self._links[link.socket.fileno()]
        link.socket.close()
        link.connection.lost(reason)

    def _write_dirty(self) -> None:
        while self.dirty:
            link = next(iter(self.dirty))
            del self.dirty[link]
            if link.socket.fileno() not in self._links:
                continue  # it was lost after it had something to say
            try:
                link.write(self._epoll)
            except OSError as error:
                self._lose(link, f"UNAVAILABLE: {error}")
            else:
                if link.connection.leaving and not link.connection.calls:
                    self._lose(link, link.connection.leaving)

    def _watch(self) -> None:
        """End requests past their deadline, and the whole load when nothing arrives at all."""
        now_ns = perf_counter_ns()
        if not self._started or now_ns < self._watch_ns:
            return
        self._watch_ns = now_ns + _WATCH_NS
        for exchange in self.clients.overdue(now_ns):
            self._all[exchange.client].give_up(Ending.DEADLINE, now_ns)
        self.clients.watch(now_ns)

    def _listen_to_parent(self) -> None:
        """Start, drain or, at the end of standard input, stop."""
        words = os.read(self._stdin, 64)
        if not words:
            self.clients.stop()
        if START in words:
            self._started = True
            start_ns = self._heartbeat.await_start()
            for client in self._all:
                client.begin(start_ns)
        if DRAIN in words:
            self.clients.drain()


def _connection(protocol: Protocol, address: str) -> Connection:
    """A fresh connection of that protocol; each is imported only where it is used."""
    if protocol is Protocol.GRPC:
        from perfgate.load import http2  # noqa: PLC0415

        return http2.Connection(address, STREAM_METHOD, streams=STREAMS_PER_CONNECTION)
    from perfgate.load import http1  # noqa: PLC0415

    return http1.Connection()
