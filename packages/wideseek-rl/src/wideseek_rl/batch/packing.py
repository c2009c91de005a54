"""Micro-batches: samples of like length, padded on the right, within a budget of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.batch.prefix_tree import PrefixTree, build_prefix_trees, single
from wideseek_rl.batch.samples import TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branches:
    """How the tokens of trees see each other."""

    positions: Tensor
    """`[B, T]`, of each token in its own sample."""
    mask: Tensor
    """`[B, 1, T, T]`, true where a token may attend; every token attends to itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Samples as tensors: B samples or trees of at most T tokens, N trained tokens among them."""

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
    branches: Branches | None = None
    """None where every sequence is plainly causal."""

    @property
    def tokens(self) -> int:
        """Positions that run through the model, padding included."""
        return self.ids.numel()


def plan(
    samples: Sequence[TrainingSample], max_tokens: int, *, share: bool = True
) -> list[list[PrefixTree]]:
    """All samples in batches of at most `max_tokens` positions; common prefixes share if it pays.

    Trees with branches keep to themselves: their masks would slow the others down.
    """
    trees = (
        build_prefix_trees(samples, max_tokens) if share else [single(sample) for sample in samples]
    )
    plain = [tree for tree in trees if not tree.branched]
    return pack(plain, max_tokens) + pack([tree for tree in trees if tree.branched], max_tokens)


def pack(trees: Sequence[PrefixTree], max_tokens: int) -> list[list[PrefixTree]]:
    """Trees by falling length, in batches of at most `max_tokens` positions with padding.

    A tree longer than that gets a batch of its own. The longest come first, so that a batch too
    large for the memory shows at once.
    """
    batches: list[list[PrefixTree]] = []
    for tree in sorted(trees, key=len, reverse=True):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0]) <= max_tokens:
            batches[-1].append(tree)
        else:
            batches.append([tree])
    return batches


def collate(trees: Sequence[PrefixTree], device: torch.device | str = "cpu") -> MicroBatch:
    """Pads trees on the right and gathers what trains."""
    lengths = np.array([len(tree) for tree in trees], dtype=np.int64)
    width = int(lengths.max())
    ids = np.zeros((len(trees), width), dtype=np.int64)
    for index, tree in enumerate(trees):
        ids[index, : len(tree)] = tree.ids
    samples = [sample for tree in trees for sample in tree.samples]
    paths = [index * width + path for index, tree in enumerate(trees) for path in tree.paths]
    trained = [np.flatnonzero(sample.weights) for sample in samples]
    # A sample's token j is predicted by the hidden state of its token j−1.
    places = [path[at - 1] for path, at in zip(paths, trained, strict=True)]

    def gather(name: str) -> Tensor:
        parts = [getattr(sample, name)[at] for sample, at in zip(samples, trained, strict=True)]
        return torch.as_tensor(np.concatenate(parts)).to(device)

    return MicroBatch(
        ids=torch.as_tensor(ids).to(device),
        lengths=torch.as_tensor(lengths).to(device),
        places=torch.as_tensor(np.concatenate(places)).to(device),
        targets=gather("ids").long(),
        weights=gather("weights"),
        advantages=gather("advantages"),
        logprobs=gather("logprobs"),
        branches=_branches(trees, width, device) if any(t.branched for t in trees) else None,
    )


def _branches(trees: Sequence[PrefixTree], width: int, device: torch.device | str) -> Branches:
    positions = np.zeros((len(trees), width), dtype=np.int64)
    # What pads attends to itself: a softmax over nothing would not be finite.
    mask = np.tile(np.eye(width, dtype=np.bool_), (len(trees), 1, 1, 1))
    mask = mask.reshape(len(trees), 1, width, width)
    for index, tree in enumerate(trees):
        positions[index, : len(tree)] = tree.positions()
        mask[index, 0, : len(tree), : len(tree)] = tree.mask()
    return Branches(
        positions=torch.as_tensor(positions).to(device), mask=torch.as_tensor(mask).to(device)
    )
