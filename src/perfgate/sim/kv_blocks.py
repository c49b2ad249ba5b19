"""The paged KV cache: a fixed pool of blocks, each owned by at most one request."""

from __future__ import annotations

from perfgate.errors import UsageError


class BlockPool:
    """Hands out blocks of `tokens_per_block` tokens and takes them back.

    A request's blocks form its table, which only grows until it is released as a whole.
    """

    def __init__(self, *, kv_cache_tokens: int, tokens_per_block: int) -> None:
        self.tokens_per_block = tokens_per_block
        self.capacity = kv_cache_tokens // tokens_per_block
        if self.capacity == 0:
            rule = f"it must hold at least one block of {tokens_per_block} tokens"
            raise UsageError("kv_cache_tokens", kv_cache_tokens, rule)
        self._free = list(range(self.capacity))
        self._tables: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """Blocks nobody owns."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Blocks that are owned."""
        return self.capacity - len(self._free)

    @property
    def tables(self) -> dict[int, list[int]]:
        """The blocks of each owner, in the order they were given."""
        return self._tables

    def blocks_for(self, tokens: int) -> int:
        """How many blocks hold that many tokens."""
        return -(-tokens // self.tokens_per_block)

    def grow(self, owner: int, tokens: int) -> bool:
        """Let the owner's table hold `tokens` tokens; False, and nothing taken, if it cannot."""
        table = self._tables.get(owner, ())
        missing = self.blocks_for(tokens) - len(table)
        if missing > len(self._free):
            return False
        if missing > 0:
            self._tables.setdefault(owner, []).extend(self._free[-missing:])
            del self._free[-missing:]
        return True

    def release(self, owner: int) -> None:
        """Take back all blocks of the owner; one that has none is no error."""
        self._free.extend(self._tables.pop(owner, ()))
