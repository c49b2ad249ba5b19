"""How a load is shared out among workers: how many it takes, and who sends what. Pure."""

from __future__ import annotations

from math import ceil
from typing import Final

import msgspec

from perfgate.load.spool import Exchange, Plan

# A worker that is busy for half of its time answers at once nearly always; the limit at which a run
# is invalid (`max_client_cpu_share`) lies above that, so that a burst does not reach it.
WORKER_CPU_SHARE: Final = 0.5
# The fast receiver beside a Triton on two shared cores, 160 streams: decision 4.
CPU_S_PER_TOKEN: Final = 40e-6
_SERVER_CORES: Final = 1


def workers_needed(
    tok_s: float, *, clients: int, cores: int, cpu_s_per_token: float = CPU_S_PER_TOKEN
) -> int:
    """Return how many workers a load of `tok_s` tokens/s takes on a machine of `cores` cores.

    As many as keep each under half a core, `tok_s x cpu_s_per_token / 0.5`, but no more than cores
    are left beside the server's one, nor than there are clients; one at least.
    """
    wanted = ceil(tok_s * cpu_s_per_token / WORKER_CPU_SHARE)
    return max(1, min(wanted, cores - _SERVER_CORES, clients))


def shard(plan: Plan, workers: int) -> tuple[Plan, ...]:
    """Deal out clients and conversations in turn: worker w gets w, w + workers, w + 2 workers, ...

    A request that stands alone is a conversation of one. Each worker then has its part of the
    staggered first requests, of an open loop's times as well, and numbers what it has from 0: its
    i-th client or conversation is number i x workers + w of the whole.
    """
    if workers == 1:
        return (plan,)
    requests = range(len(plan.requests))
    dealt = [
        [number for number in requests if number // plan.turns % workers == worker]
        for worker in range(workers)
    ]
    return tuple(
        msgspec.structs.replace(
            plan,
            concurrency=len(range(worker, plan.concurrency, workers)),
            requests=[plan.requests[number] for number in own],
            due_ns=tuple(plan.due_ns[number] for number in own) if plan.due_ns else (),
            numbers=tuple(range(worker, plan.concurrency, workers)),
        )
        for worker, own in enumerate(dealt)
    )


def renumber(exchange: Exchange, worker: int, workers: int, *, turns: int = 1) -> Exchange:
    """Give an exchange of a worker's the numbers of the whole load."""
    conversation, turn = divmod(exchange.index, turns)
    exchange.index = (conversation * workers + worker) * turns + turn
    exchange.client = exchange.client * workers + worker
    return exchange
