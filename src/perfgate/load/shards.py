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
    """Deal out clients and requests in turn: worker w gets w, w + workers, w + 2 workers, ...

    Each then has its part of the staggered first requests and numbers what it has from 0: its i-th
    client or request is number i x workers + w of the whole.
    """
    return tuple(
        msgspec.structs.replace(
            plan,
            concurrency=len(range(worker, plan.concurrency, workers)),
            requests=plan.requests[worker::workers],
        )
        for worker in range(workers)
    )


def renumber(exchange: Exchange, worker: int, workers: int) -> Exchange:
    """Give an exchange of a worker's the numbers of the whole load."""
    exchange.index = exchange.index * workers + worker
    exchange.client = exchange.client * workers + worker
    return exchange
