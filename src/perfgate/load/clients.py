"""A load's bookkeeping: what is in flight, what has ended, and when the load is over.

No socket, no clock and no event loop: the transports (`grpc_aio`, `epoll`) ask it what to send
and tell it what came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from perfgate.load.control import Cell, ControlBlock
from perfgate.load.spool import Ending, Exchange, Plan, SpoolWriter
from perfgate.traffic.pace import NEVER, Turn, pace_of


class Clients:
    """The clients of a load, each with at most one request in flight.

    `on_stop` is called once when the load is over: stopped, drained or failed; `faults` says why it
    ended on its own, `drained` that every request ended first.
    """

    def __init__(self, plan: Plan, spool: SpoolWriter, control: ControlBlock) -> None:
        self.plan = plan
        self.faults: list[str] = []
        self.stopped = False
        self.drained = False
        self.on_stop: Callable[[], None] = lambda: None
        self.in_flight: dict[int, Exchange] = {}
        self._spool = spool
        self._control = control
        self._draining = False
        self._ended: Counter[int] = Counter()
        self._pace = pace_of(
            plan.concurrency,
            len(plan.requests),
            plan.due_ns,
            turns=plan.turns,
            think_ns=plan.think_ns,
            numbers=plan.numbers,
        )
        self._failed = 0
        self._settled_messages = 0
        self._seen = (-1, 0)

    def stop(self) -> None:
        """End the load: nothing more is drawn."""
        if not self.stopped:
            self.stopped = True
            self.on_stop()

    def drain(self) -> None:
        """End the load in order: nothing more is drawn, what is in flight may end."""
        self._draining = True
        self._stop_if_drained()

    def fail(self, fault: str) -> None:
        """End the load on its own, for this reason; a load that is ending anyway has none."""
        if not self.stopped:
            self.faults.append(fault)
            self.stop()

    @property
    def next_due_ns(self) -> int:
        """When `due` has something to send; never, where clients send as soon as they are free."""
        return NEVER if self.stopped or self._draining else self._pace.next_due_ns

    def draw(self, client: int, free_ns: int) -> Exchange | None:
        """What a client sends now that is free; None if it is to wait or the load is over."""
        if self.stopped or self._draining:
            return None
        turn = self._pace.free(client, free_ns)
        if self._pace.exhausted:
            self.fail(
                f"all {len(self.plan.requests)} prompts were used before the load was stopped;"
                " a prompt sent twice could be answered from the KV cache. Plan more prompts."
            )
        return None if turn is None else self._begin(turn)

    def due(self, now_ns: int) -> Exchange | None:
        """The next request that is due by now, of a client that has waited for it."""
        if self.next_due_ns > now_ns:
            return None
        turn = self._pace.due(now_ns)
        return None if turn is None else self._begin(turn)

    def _begin(self, turn: Turn) -> Exchange:
        exchange = Exchange(
            index=turn.request, client=turn.client, due_ns=turn.due_ns, stamps_ns=[], messages=[]
        )
        self.in_flight[turn.client] = exchange
        return exchange

    def settle(self, exchange: Exchange) -> None:
        """Spool an ended exchange and count it."""
        if self.in_flight.get(exchange.client) is exchange:
            del self.in_flight[exchange.client]
        self._settled_messages += len(exchange.messages)
        self._spool.write(exchange)
        if exchange.ending is Ending.STOPPED:
            return
        self._count(exchange)
        if exchange.ending is not Ending.FINAL:
            self._failed += 1
        if self._failed >= self.plan.concurrency:
            self.fail(
                f"gave up after {self._failed} failed requests, as many as there are clients;"
                f" the last with: {exchange.error or 'an error message'}"
            )
        self._stop_if_drained()

    def overdue(self, now_ns: int) -> list[Exchange]:
        """The requests in flight that are past their deadline and have not been given up yet."""
        limit_ns = now_ns - int(self.plan.deadline_s * 1e9)
        late = [
            exchange
            for exchange in self.in_flight.values()
            if exchange.sent_ns and exchange.sent_ns < limit_ns and not exchange.error
        ]
        for exchange in late:
            exchange.error = f"no final response within {self.plan.deadline_s:g} s"
        return late

    def watch(self, now_ns: int) -> None:
        """End the whole load when nothing has arrived at all for too long."""
        received = self._settled_messages + sum(
            len(exchange.messages) for exchange in self.in_flight.values()
        )
        seen, seen_ns = self._seen
        if received != seen or not self.in_flight:
            self._seen = (received, now_ns)
        elif now_ns - seen_ns > self.plan.stall_s * 1e9:
            self.fail(
                f"stalled: no response of any kind for {self.plan.stall_s:g} s with"
                f" {len(self.in_flight)} requests in flight"
            )

    def _stop_if_drained(self) -> None:
        if self._draining and not self.in_flight and not self.stopped:
            self.drained = True
            self.stop()

    def _count(self, exchange: Exchange) -> None:
        control = self._control
        control[Cell.FINISHED] += 1
        self._ended[exchange.client] += 1
        if self._ended[exchange.client] == self.plan.ramp:
            control[Cell.RAMPED] += 1
