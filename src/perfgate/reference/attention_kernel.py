"""Attention over a paged KV cache as Triton kernels, equal to `perfgate.reference.attention`.

`paged_attention` runs one program for each token and KV head. A token reads the keys and values of
its own sequence up to itself, so tokens of a prompt and of running generations need no separate
paths, and a whole iteration is one launch a layer. Tokens of one prompt read the same pages, which
the L2 cache serves; for long prompts a kernel that tiles queries as well would do better.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 64  # keys a program holds at a time
_LEAST_ROWS = 16  # a tensor core's smallest tile: fewer query heads are filled up


def paged_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    sequences: Tensor,
    positions: Tensor,
) -> Tensor:
    """Attend each of [tokens, heads, head_dim] to its sequence's cache; returns the same shape.

    `keys` and `values` are [pages, page tokens, kv_heads, head_dim], in 16 bits or FP8; `tables`
    is [sequences, pages of a sequence], `sequences` and `positions` say of each token where it
    belongs.
    """
    tokens, heads, head_dim = query.shape
    page_tokens, kv_heads = keys.shape[1], keys.shape[2]
    group = heads // kv_heads
    out = torch.empty_like(query)
    kernel: Any = _attend
    kernel[(tokens, kv_heads)](
        query,
        keys,
        values,
        tables,
        sequences,
        positions,
        out,
        head_dim**-0.5,
        tables.stride(0),
        GROUP=group,
        ROWS=max(_LEAST_ROWS, triton.next_power_of_2(group)),
        HEAD_DIM=head_dim,
        KV_HEADS=kv_heads,
        PAGE=page_tokens,
        TILE=_TILE,
        num_warps=4,
    )
    return out


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

    Arguments as in `perfgate.reference.attention.rotate_and_store`. One launch stands for the
    dozen that the same takes in plain PyTorch.
    """
    kv_heads, head_dim = keys.shape[2:]
    every = qkv.shape[1] // head_dim
    heads = every - 2 * kv_heads
    query = torch.empty((len(qkv), heads, head_dim), dtype=qkv.dtype, device=qkv.device)
    kernel: Any = _rotate
    kernel[(len(qkv), every)](
        qkv,
        cos,
        sin,
        positions,
        slots,
        query,
        keys,
        values,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HALF=head_dim // 2,
        num_warps=1,
    )
    return query


@triton.jit
def _rotate(
    qkv,
    cos,
    sin,
    positions,
    slots,
    query,
    keys,
    values,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
):
    token = tl.program_id(0)
    head = tl.program_id(1)
    half = tl.arange(0, HALF)
    source = qkv + (token * (HEADS + 2 * KV_HEADS) + head) * 2 * HALF
    first = tl.load(source + half)
    second = tl.load(source + HALF + half)
    slot = tl.load(slots + token)
    if head < HEADS + KV_HEADS:
        position = tl.load(positions + token)
        turn = tl.load(cos + position * HALF + half)
        rise = tl.load(sin + position * HALF + half)
        kind = first.dtype
        wide, deep = first.to(tl.float32), second.to(tl.float32)
        first = (wide * turn - deep * rise).to(kind)
        second = (deep * turn + wide * rise).to(kind)
    if head < HEADS:
        asks = query + (token * HEADS + head) * 2 * HALF
        tl.store(asks + half, first)
        tl.store(asks + HALF + half, second)
    elif head < HEADS + KV_HEADS:
        held = keys + (slot * KV_HEADS + head - HEADS) * 2 * HALF
        tl.store(held + half, first.to(keys.dtype.element_ty))
        tl.store(held + HALF + half, second.to(keys.dtype.element_ty))
    else:
        told = values + (slot * KV_HEADS + head - HEADS - KV_HEADS) * 2 * HALF
        tl.store(told + half, first.to(values.dtype.element_ty))
        tl.store(told + HALF + half, second.to(values.dtype.element_ty))


@triton.jit
def _attend(
    query,
    keys,
    values,
    tables,
    sequences,
    positions,
    out,
    scale,
    table_stride,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    KV_HEADS: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
):
    token = tl.program_id(0)
    head = tl.program_id(1)
    table = tables + tl.load(sequences + token) * table_stride
    length = tl.load(positions + token) + 1
    rows = tl.arange(0, ROWS)
    dims = tl.arange(0, HEAD_DIM)
    place = (token * KV_HEADS * GROUP + head * GROUP + rows)[:, None] * HEAD_DIM + dims[None, :]
    real = (rows < GROUP)[:, None]
    q = tl.load(query + place, mask=real, other=0.0)
    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    result = tl.zeros([ROWS, HEAD_DIM], tl.float32)
    for start in range(0, length, TILE):
        at = start + tl.arange(0, TILE)
        inside = at < length
        page = tl.load(table + at // PAGE, mask=inside, other=0).to(tl.int64)
        cached = (page * PAGE + at % PAGE) * KV_HEADS + head
        where = cached[:, None] * HEAD_DIM + dims[None, :]
        k = tl.load(keys + where, mask=inside[:, None], other=0.0).to(q.dtype)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(inside[None, :], scores, float("-inf"))
        # Softmax on the go: what was summed before is scaled to the new maximum.
        newest = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp(scores - newest[:, None])
        shrink = tl.exp(largest - newest)
        v = tl.load(values + where, mask=inside[:, None], other=0.0).to(q.dtype)
        result = result * shrink[:, None] + tl.dot(weights.to(q.dtype), v)
        total = total * shrink + tl.sum(weights, 1)
        largest = newest
    tl.store(out + place, (result / total[:, None]).to(q.dtype), mask=real)
