"""Memory for keys and values, in blocks of a fixed number of tokens.

A conversation owns a list of blocks; conversations share the blocks of a common prefix. Nothing is
moved when a request starts, ends or changes its place in the batch.
"""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.models.config import DecoderConfig

BLOCK_SIZE = 32
"""Tokens of one block."""


class BlockPool:
    """Blocks and who uses them.

    Block 0 is never handed out and stays zero: it pads lists of blocks to equal length.
    """

    def __init__(
        self, config: DecoderConfig, count: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.count = count
        """Blocks that may be in use at once."""
        self.dtype = dtype
        self.device = device
        leading = (config.layers, count + 1, config.kv_heads)
        self._shapes = (
            (*leading, config.head_dim, BLOCK_SIZE),
            (*leading, BLOCK_SIZE, config.head_dim),
        )
        self.clear()

    def clear(self) -> None:
        """Takes all blocks back, and gives their memory back until it is needed again."""
        self._free = list(range(self.count, 0, -1))
        self._uses: Counter[int] = Counter()
        self._tensors: tuple[Tensor, Tensor] | None = None

    @property
    def free(self) -> int:
        """Blocks without a user."""
        return len(self._free)

    @property
    def keys(self) -> Tensor:
        """`[L, blocks, Hkv, d, BLOCK_SIZE]`: tokens are the last axis, see `attention.py`."""
        return self._memory()[0]

    @property
    def values(self) -> Tensor:
        """`[L, blocks, Hkv, BLOCK_SIZE, d]`."""
        return self._memory()[1]

    def take(self, count: int) -> list[int]:
        """Blocks for one user; there must be that many free."""
        taken = [self._free.pop() for _ in range(count)]
        self._uses.update(taken)
        return taken

    def share(self, blocks: list[int]) -> list[int]:
        """The same blocks for one more user."""
        self._uses.update(blocks)
        return list(blocks)

    def release(self, blocks: list[int]) -> None:
        """One user less; blocks without any are free again."""
        self._uses.subtract(blocks)
        self._free += [block for block in blocks if not self._uses[block]]

    def shared(self, block: int) -> bool:
        """Whether a block has several users, none of whom may write to it."""
        return self._uses[block] > 1

    def copy(self, source: int, target: int) -> None:
        """Copies what is in one block to another."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]

    def _memory(self) -> tuple[Tensor, Tensor]:
        if self._tensors is None:
            keys, values = (self._zeros(shape) for shape in self._shapes)
            self._tensors = (keys, values)
        return self._tensors

    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        if self.device.type == "cpu" and self.dtype == torch.float32:
            # NumPy's zeros are not touched before they are used, so that idle blocks cost nothing.
            return torch.from_numpy(np.zeros(shape, np.float32))  # pyright: ignore[reportUnknownMemberType]
        return torch.zeros(shape, dtype=self.dtype, device=self.device)
