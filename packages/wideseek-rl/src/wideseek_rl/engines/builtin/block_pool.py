"""Memory for keys and values, in pages of a fixed number of tokens.

A conversation owns a list of pages; conversations that begin alike share the pages of their common
beginning. Nothing is moved when a request starts, ends or changes places in the batch.
"""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.models.config import DecoderConfig

BLOCK_SIZE = 32
"""Tokens of one page."""


class BlockPool:
    """Pages and who uses them.

    Page 0 belongs to nobody and stays zero: it pads lists of pages to equal length.
    """

    def __init__(
        self, config: DecoderConfig, count: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.count = count
        """Pages that may be in use at once."""
        self.dtype = dtype
        self.device = device
        leading = (config.layers, count + 1, config.kv_heads)
        self._shapes = (
            (*leading, config.head_dim, BLOCK_SIZE),
            (*leading, BLOCK_SIZE, config.head_dim),
        )
        self.clear()

    def clear(self) -> None:
        """Takes all pages back, and gives their memory back until it is needed again."""
        self._free = list(range(self.count, 0, -1))
        self._uses: Counter[int] = Counter()
        self._tensors: tuple[Tensor, Tensor] | None = None

    @property
    def free(self) -> int:
        """Pages that nobody uses."""
        return len(self._free)

    @property
    def keys(self) -> Tensor:
        """`[L, pages, Hkv, d, BLOCK_SIZE]`: tokens stand last, see `attention.py`."""
        return self._memory()[0]

    @property
    def values(self) -> Tensor:
        """`[L, pages, Hkv, BLOCK_SIZE, d]`."""
        return self._memory()[1]

    def take(self, count: int) -> list[int]:
        """Pages for one user; there must be that many free."""
        taken = [self._free.pop() for _ in range(count)]
        self._uses.update(taken)
        return taken

    def share(self, pages: list[int]) -> list[int]:
        """The same pages for one more user."""
        self._uses.update(pages)
        return list(pages)

    def release(self, pages: list[int]) -> None:
        """One user less; pages without any are free again."""
        self._uses.subtract(pages)
        self._free += [page for page in pages if not self._uses[page]]

    def shared(self, page: int) -> bool:
        """Whether a page has several users, none of whom may write to it."""
        return self._uses[page] > 1

    def copy(self, source: int, target: int) -> None:
        """Copies what is in one page to another."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]

    def _memory(self) -> tuple[Tensor, Tensor]:
        if self._tensors is None:
            keys, values = (self._zeros(shape) for shape in self._shapes)
            self._tensors = (keys, values)
        return self._tensors

    def _zeros(self, shape: tuple[int, ...]) -> Tensor:
        if self.device.type == "cpu" and self.dtype == torch.float32:
            # NumPy's zeros are not touched before they are used, so that idle pages cost nothing.
            return torch.from_numpy(np.zeros(shape, np.float32))  # pyright: ignore[reportUnknownMemberType]
        return torch.zeros(shape, dtype=self.dtype, device=self.device)
