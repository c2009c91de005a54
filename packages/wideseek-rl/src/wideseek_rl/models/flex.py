"""Flex attention over packed samples and prefix trees, whose masks are never made in full.

Kept apart from `ops`, since importing flex attention loads torch's compiler.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import (
    BlockMask,
    flex_attention,  # pyright: ignore[reportUnknownVariableType]
)

BLOCK_SIZE = 128
"""Tokens a side of the blocks that are skipped or computed whole; packed lengths are multiples."""


def flex(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float | None = None) -> Tensor:
    """Attention of `[B, H, T, d]` queries over `[B, Hkv, T, d]` keys and values."""
    kernel: Any = flex_attention
    if not torch.compiler.is_compiling() and q.device.type != "cpu":
        kernel = _compiled()
    shared = q.shape[1] != k.shape[1]
    # Not ROWS_GUARANTEED_SAFE: though every token attends to itself, it may attend to nothing in
    # the first block that is visited, and that option makes NaN of it.
    return cast(Tensor, kernel(q, k, v, block_mask=mask, scale=scale, enable_gqa=shared))


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def block_mask(ends: Tensor, positions: Tensor, window: int | None = None) -> BlockMask:
    """The blocks of a layout `[B, T]`; T is a multiple of `BLOCK_SIZE`.

    Found from the least and the greatest end of each block of keys, in (T / 128)² steps: a block
    of queries `[a, b)` sees some of the keys of an earlier block if the greatest end is above a,
    and all of them if the least end is at least b.
    """
    rows, width = ends.shape
    if width % BLOCK_SIZE:
        raise ValueError(f"{width} tokens are not a multiple of {BLOCK_SIZE}")
    ends = ends.int()
    count = width // BLOCK_SIZE
    blocks = ends.view(rows, count, BLOCK_SIZE)
    least, greatest = blocks.amin(-1)[:, None], blocks.amax(-1)[:, None]  # [B, 1, K]
    starts = torch.arange(0, width, BLOCK_SIZE, device=ends.device)
    queries, keys = starts[:, None], starts
    some = (keys == queries) | ((keys < queries) & (greatest > queries))
    full = (keys < queries) & (least >= queries + BLOCK_SIZE)
    if window is not None:
        full = torch.zeros_like(full)
    full_count, full_order = _ordered(full)
    some_count, some_order = _ordered(some & ~full)

    def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (query >= key) & (query < ends[b, key])
        if window is not None:
            seen = seen & (positions[b, query] - positions[b, key] < window)
        return seen

    return BlockMask.from_kv_blocks(
        some_count,
        some_order,
        full_count,
        full_order,
        BLOCK_SIZE=BLOCK_SIZE,
        mask_mod=sees,
        seq_lengths=(width, width),
    )


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many keys' blocks each block of queries sees, and their numbers first: `[B, 1, Q, …]`."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[:, None], order.int()[:, None].contiguous()
