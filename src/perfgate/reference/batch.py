"""From a planned iteration to the packed tokens the decoder takes: bookkeeping, no computing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import Step

Ints = npt.NDArray[np.int32]


@dataclass(slots=True)
class Dialogue:
    """A request's tokens so far: its prompt, then what the model has said."""

    tokens: list[int]
    prompt_tokens: int
    end_id: int | None = None
    min_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One iteration: an entry a token, and which of them are asked for a successor.

    `asked` names the requests of `last`, in its order.
    """

    ids: Ints
    positions: Ints
    sequences: Ints
    last: Ints
    asked: tuple[int, ...]


@dataclass(slots=True)
class _Row:
    index: int
    pages: int = 0


@dataclass(slots=True)
class Packer:
    """Keeps each request's pages in a row of `tables` and packs iterations.

    `tables` is [rows + 1, pages of the longest sequence]; the last row belongs to nobody and points
    at the page `spare`, where tokens that only fill up an iteration may write.
    """

    rows: int
    longest_pages: int
    spare: int
    tables: Ints = field(init=False)
    _free: list[int] = field(init=False)
    _rows: dict[int, _Row] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Start with every row free."""
        self.tables = np.full((self.rows + 1, self.longest_pages), self.spare, dtype=np.int32)
        self._free = list(range(self.rows))

    def pack(self, step: Step, scheduler: Scheduler, sequences: dict[int, Dialogue]) -> Packed:
        """Pack the planned iteration, contexts first, as `Scheduler.finish_step` emits."""
        running = scheduler.generating
        self._release_all_but({*running, *(chunk.request_id for chunk in step.context)})
        ids: list[int] = []
        positions: list[int] = []
        owners: list[int] = []
        last: list[int] = []
        asked: list[int] = []
        for chunk in step.context:
            owner = self._row(chunk.request_id, scheduler.block_table(chunk.request_id), anew=True)
            tokens, end = sequences[chunk.request_id].tokens, chunk.past + chunk.tokens
            ids += tokens[chunk.past : end]
            positions += range(chunk.past, end)
            owners += [owner] * chunk.tokens
            if end == len(tokens):
                last.append(len(ids) - 1)
                asked.append(chunk.request_id)
        for request_id, read in zip(running, step.generation, strict=True):
            table = scheduler.block_table(request_id)
            last.append(len(ids))
            asked.append(request_id)
            ids.append(sequences[request_id].tokens[read - 1])
            positions.append(read - 1)
            owners.append(self._row(request_id, table, anew=False))
        return Packed(
            ids=_ints(ids),
            positions=_ints(positions),
            sequences=_ints(owners),
            last=_ints(last),
            asked=tuple(asked),
        )

    def _row(self, request_id: int, table: Sequence[int], *, anew: bool) -> int:
        row = self._rows.get(request_id)
        if row is None:
            row = self._rows[request_id] = _Row(self._free.pop())
            anew = True
        # A request that was paused may hold as many pages as before, but others: its context
        # runs again, so contexts are always written anew.
        if anew or row.pages != len(table):
            self.tables[row.index, : len(table)] = table
            row.pages = len(table)
        return row.index

    def _release_all_but(self, running: set[int]) -> None:
        for request_id in self._rows.keys() - running:
            self._free.append(self._rows.pop(request_id).index)


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int32)
