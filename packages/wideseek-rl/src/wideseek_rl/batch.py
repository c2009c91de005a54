"""Micro-batches: rows of like length, padded on the right, within a budget of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Some rows as tensors. B rows of at most T tokens, N trained tokens among them."""

    ids: Tensor
    """`[B, T]`, int64."""
    lengths: Tensor
    """`[B]`, int64."""
    places: Tensor
    """`[N]`, where in the flattened `[B·T]` the hidden state stands that predicts each token."""
    targets: Tensor
    """`[N]`, the trained tokens themselves."""
    weights: Tensor
    advantages: Tensor
    logprobs: Tensor
    """`[N]`, of the sampler."""

    @property
    def tokens(self) -> int:
        """Positions that run through the model, padding included."""
        return self.ids.numel()


def pack_rows(rows: Sequence[Row], max_tokens: int) -> list[list[Row]]:
    """Rows by falling length, in batches of at most `max_tokens` positions with padding.

    A row longer than that gets a batch of its own. The longest come first, so that a batch too
    large for the memory shows at once.
    """
    batches: list[list[Row]] = []
    for row in sorted(rows, key=len, reverse=True):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0]) <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def collate(rows: Sequence[Row], device: torch.device | str = "cpu") -> MicroBatch:
    """Pads rows on the right and gathers what trains."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    width = int(lengths.max())
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
    trained = [np.flatnonzero(row.weights) for row in rows]
    # Position j is predicted by the hidden state of j−1.
    places = [index * width + at - 1 for index, at in enumerate(trained)]

    def gather(name: str) -> Tensor:
        parts = [getattr(row, name)[at] for row, at in zip(rows, trained, strict=True)]
        return torch.as_tensor(np.concatenate(parts)).to(device)

    return MicroBatch(
        ids=torch.as_tensor(ids).to(device),
        lengths=torch.as_tensor(lengths).to(device),
        places=torch.as_tensor(np.concatenate(places)).to(device),
        targets=gather("ids").long(),
        weights=gather("weights"),
        advantages=gather("advantages"),
        logprobs=gather("logprobs"),
    )
