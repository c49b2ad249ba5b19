"""Who sends what next while a load runs, and when: no socket, no clock, no simulated engine.

A driver tells `free` that a client has nothing in flight; the answer is the request that it sends
now, or None if it is to wait. It asks `due` at `next_due_ns` for those who have waited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

NEVER = 2**63 - 1


class Turn(NamedTuple):
    """A client's turn to send a request, by its position in the schedule, due at `due_ns`."""

    client: int
    request: int
    due_ns: int


class ClosedPace:
    """A closed loop: each client sends as soon as it is free, or after thinking.

    Request `k * turns + k % turns` is client k's first; it goes on to the end of that conversation
    of `turns` requests, then takes the next one that nobody has begun. `numbers` are the clients'
    own in a whole load of which these are a part: they tell at which turn each begins.
    """

    def __init__(
        self,
        clients: int,
        requests: int,
        *,
        turns: int = 1,
        think_ns: int = 0,
        numbers: Sequence[int] = (),
    ) -> None:
        self.exhausted = False
        self._requests = requests
        self._turns = turns
        self._think_ns = think_ns
        self._numbers = numbers or range(clients)
        self._last: dict[int, int] = {}
        self._next = clients * turns
        self._thinking: list[tuple[int, int, int]] = []

    @property
    def next_due_ns(self) -> int:
        """When the next client has thought enough."""
        return self._thinking[0][0] if self._thinking else NEVER

    def free(self, client: int, at_ns: int) -> Turn | None:
        """What a client sends now; `exhausted` afterwards says that there was nothing left."""
        first = client not in self._last
        index = self._following(client)
        if index >= self._requests:
            self.exhausted = True
            return None
        self._last[client] = index
        if first or not self._think_ns:
            return Turn(client, index, at_ns)
        heappush(self._thinking, (at_ns + self._think_ns, client, index))
        return None

    def due(self, now_ns: int) -> Turn | None:
        """The next turn that is due by now."""
        if self.next_due_ns > now_ns:
            return None
        due_ns, client, index = heappop(self._thinking)
        return Turn(client, index, due_ns)

    def _following(self, client: int) -> int:
        last = self._last.get(client)
        if last is None:
            return client * self._turns + self._numbers[client] % self._turns
        if (last + 1) % self._turns:
            return last + 1
        index, self._next = self._next, self._next + self._turns
        return index


class OpenPace:
    """An open loop: request i is due `due_ns[i]` after the first client was free.

    It goes to whoever has been idle longest. With nobody idle it waits, and is sent by the first to
    become free; it stays due when it was due.
    """

    exhausted = False  # when all is sent, the load goes on until it has ended

    def __init__(self, due_ns: Sequence[int]) -> None:
        self._due_ns = due_ns
        self._next = 0
        self._start_ns: int | None = None
        self._idle: deque[int] = deque()

    @property
    def next_due_ns(self) -> int:
        """When the next request is due, if somebody is there to send it."""
        return self._upcoming_ns() if self._idle else NEVER

    def free(self, client: int, at_ns: int) -> Turn | None:
        """What a client sends now: the oldest request that is overdue."""
        if self._start_ns is None:
            self._start_ns = at_ns
        if self._upcoming_ns() <= at_ns:
            return self._take(client)
        self._idle.append(client)
        return None

    def due(self, now_ns: int) -> Turn | None:
        """The next turn that is due by now."""
        return None if self.next_due_ns > now_ns else self._take(self._idle.popleft())

    def _upcoming_ns(self) -> int:
        if self._start_ns is None or self._next == len(self._due_ns):
            return NEVER
        return self._start_ns + self._due_ns[self._next]

    def _take(self, client: int) -> Turn:
        turn = Turn(client, self._next, self._upcoming_ns())
        self._next += 1
        return turn


Pace = ClosedPace | OpenPace


def pace_of(
    clients: int,
    requests: int,
    due_ns: Sequence[int],
    *,
    turns: int = 1,
    think_ns: int = 0,
    numbers: Sequence[int] = (),
) -> Pace:
    """The pace of a load: open if its requests are due at times of their own."""
    if due_ns:
        return OpenPace(due_ns)
    return ClosedPace(clients, requests, turns=turns, think_ns=think_ns, numbers=numbers)
