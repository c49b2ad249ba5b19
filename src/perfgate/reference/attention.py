"""Paged attention in plain PyTorch: the CPU's path, and what the kernels must equal."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 64  # tokens attended at a time: bounds what is gathered


def paged_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    sequences: Tensor,
    positions: Tensor,
) -> Tensor:
    """Attend each of [tokens, heads, head_dim] to its sequence's cache; returns the same shape.

    Arguments as in `perfgate.reference.attention_kernel.paged_attention`.
    """
    parts = [
        _attend(query[at], keys, values, tables[sequences[at].long()], positions[at])
        for at in _slices(len(query))
    ]
    return torch.cat(parts)


def rotate_and_store(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    slots: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """Turn queries and keys by their positions and store keys and values; returns the queries.

    `qkv` is [tokens, (heads + 2 kv_heads) head_dim], `cos` and `sin` [positions, head_dim / 2],
    `slots` the place of each token in the cache: page x page tokens + offset.
    """
    kv_heads, head_dim = keys.shape[2:]
    rows = qkv.view(len(qkv), -1, head_dim)
    heads = rows.shape[1] - 2 * kv_heads
    first, second = rows[:, : heads + kv_heads].float().chunk(2, dim=-1)
    cos, sin = cos[positions][:, None, :], sin[positions][:, None, :]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    turned = turned.to(qkv.dtype)
    _store(keys, slots, turned[:, heads:])
    _store(values, slots, rows[:, heads + kv_heads :])
    return turned[:, :heads]


def _store(cache: Tensor, slots: Tensor, rows: Tensor) -> None:
    flat = _bits(cache).view(-1, *cache.shape[2:])
    flat[slots] = _bits(rows.to(cache.dtype))


def _attend(query: Tensor, keys: Tensor, values: Tensor, tables: Tensor, last: Tensor) -> Tensor:
    tokens, heads, head_dim = query.shape
    page_tokens, kv_heads = keys.shape[1], keys.shape[2]
    at = torch.arange(int(last.max()) + 1, device=query.device)
    slots = tables[:, at // page_tokens] * page_tokens + at % page_tokens
    k, v = _gather(keys, slots), _gather(values, slots)
    grouped = query.float().view(tokens, kv_heads, heads // kv_heads, head_dim)
    scores = torch.einsum("thgd,tnhd->thgn", grouped, k) * head_dim**-0.5
    hidden = at[None, :] > last[:, None]
    scores.masked_fill_(hidden[:, None, None, :], float("-inf"))
    result = torch.einsum("thgn,tnhd->thgd", scores.softmax(dim=-1), v)
    return result.reshape(tokens, heads, head_dim).to(query.dtype)


def _gather(cache: Tensor, slots: Tensor) -> Tensor:
    flat = _bits(cache).view(-1, *cache.shape[2:])
    return flat[slots.long()].view(cache.dtype).float()


def _bits(tensor: Tensor) -> Tensor:
    # PyTorch moves FP8 numbers about only as bytes.
    return tensor.view(torch.uint8) if tensor.element_size() == 1 else tensor


def _slices(tokens: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, tokens, _ROWS)]
