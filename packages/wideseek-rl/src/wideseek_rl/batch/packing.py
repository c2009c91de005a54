"""Micro-batches within a budget of tokens: rows of like length, or all in one packed sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.batch.prefix_tree import (
    DENSE_PAIR_COST,
    MAX_MASKED_TOKENS,
    PrefixTree,
    build_prefix_trees,
    single,
)
from wideseek_rl.batch.samples import TrainingSample, turn_numbers
from wideseek_rl.models.documents import Documents
from wideseek_rl.models.layout import SequenceLayout

MAX_MASK = 1 << 26
"""Most pairs of tokens under the dense masks of one micro-batch; a byte each."""

ATTENTION_TOKENS = 30_000
"""Length at which attention takes as long as all else, of models of some billion parameters."""

PACKED_MULTIPLE = 128
"""Packed sequences are padded to a multiple: the block size of flex attention."""


MIN_BOUNDS = 256
"""Least rows of the bounds of documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """How samples become micro-batches."""

    max_tokens: int
    """Positions of one, padding included."""
    kind: Literal["rows", "packed"] = "rows"
    """`rows` are padded on the right; `packed` is one sequence in which nothing is padded."""
    share: bool = True
    """Common prefixes stand once, where that costs less."""
    ranks: int = 1
    """Processes among which packed sequences are dealt."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Samples as tensors: B sequences of at most T tokens, N trained tokens among them."""

    samples: tuple[TrainingSample, ...]
    ids: Tensor
    """`[B, T]`, int64."""
    lengths: Tensor
    """`[B]`, int64."""
    places: Tensor
    """`[N]`, index in the flattened `[B·T]` of the hidden state that predicts each token."""
    targets: Tensor
    """`[N]`, the trained tokens themselves."""
    weights: Tensor
    advantages: Tensor
    logprobs: Tensor
    """`[N]`, of the sampler."""
    owners: Tensor
    """`[N]`, the number of the sample that each token is of."""
    turns: Tensor
    """`[N]`, the number of the turn that each token is of, counted over all samples."""
    layout: SequenceLayout | None = None
    """None where every sequence is plainly causal."""

    @property
    def tokens(self) -> int:
        """Positions that run through the model, padding included."""
        return self.ids.numel()


def plan(samples: Sequence[TrainingSample], shape: BatchShape) -> list[list[PrefixTree]]:
    """All samples in micro-batches, the largest first.

    A sample longer than the budget gets one of its own, so that what is too large for the memory
    shows at once.
    """
    rows = shape.kind == "rows"
    trees = [single(sample) for sample in samples]
    if shape.share:
        longest = min(shape.max_tokens, MAX_MASKED_TOKENS) if rows else shape.max_tokens
        cost = DENSE_PAIR_COST if rows else 0.0
        trees = build_prefix_trees(samples, longest, pair_cost=cost)
    if not rows:
        return balance(trees, shape.max_tokens, shape.ranks)
    # Trees with branches keep to themselves: their masks would slow the others down.
    plain = [tree for tree in trees if not tree.branched]
    branched = [tree for tree in trees if tree.branched]
    return pack(plain, shape.max_tokens) + pack(branched, shape.max_tokens, MAX_MASK)


def pack(
    trees: Sequence[PrefixTree], max_tokens: int, max_pairs: int | None = None
) -> list[list[PrefixTree]]:
    """Trees by falling length, in batches of rows of at most `max_tokens` positions with padding.

    `max_pairs` bounds the masks of those that have one.
    """
    batches: list[list[PrefixTree]] = []
    for tree in sorted(trees, key=len, reverse=True):
        if batches:
            rows, width = len(batches[-1]) + 1, len(batches[-1][0])
            small = max_pairs is None or rows * width**2 <= max_pairs
            if rows * width <= max_tokens and small:
                batches[-1].append(tree)
                continue
        batches.append([tree])
    return batches


def balance(trees: Sequence[PrefixTree], max_tokens: int, multiple: int) -> list[list[PrefixTree]]:
    """As `fill`, in a number of packed sequences that `multiple` ranks can share out evenly.

    Trees go where the cost is least so far, so that the sequences take about as long. One rank gets
    such sequences where they are fewer.
    """
    fewest = fill(trees, max_tokens)
    # The longest-first rule may need one more than the tokens do, and each rank then a pass more.
    least = -(-sum(map(len, trees)) // max_tokens)
    if multiple == 1 and len(fewest) <= least:
        return fewest
    for wanted in (least, len(fewest)) if multiple > 1 else (least,):
        count = min(-(-wanted // multiple) * multiple, len(trees))
        batches = _spread(trees, count, max_tokens)
        if batches is not None:
            return sorted(batches, key=lambda batch: sum(map(len, batch)), reverse=True)
    return fewest


def _spread(
    trees: Sequence[PrefixTree], count: int, max_tokens: int
) -> list[list[PrefixTree]] | None:
    """Trees in so many packed sequences of like cost, or None where the dearest-first rule fails.

    A tree that is too long for any has one of its own.
    """
    batches: list[list[PrefixTree]] = [[] for _ in range(count)]
    costs, tokens = [0.0] * count, [0] * count
    for tree in sorted(trees, key=tree_cost, reverse=True):
        fits = [at for at in range(count) if not tokens[at] or tokens[at] + len(tree) <= max_tokens]
        if not fits:
            return None
        at = min(fits, key=costs.__getitem__)
        batches[at].append(tree)
        costs[at] += tree_cost(tree)
        tokens[at] += len(tree)
    return batches


def tree_cost(tree: PrefixTree) -> float:
    """How long a tree takes, in tokens of a short one: attention costs more the longer it is."""
    return len(tree) * (1 + sum(map(len, tree.samples)) / len(tree.samples) / ATTENTION_TOKENS)


def fill(trees: Sequence[PrefixTree], max_tokens: int) -> list[list[PrefixTree]]:
    """Trees in as few packed sequences as the longest-first rule finds."""
    batches: list[list[PrefixTree]] = []
    room: list[int] = []
    for tree in sorted(trees, key=len, reverse=True):
        at = next((at for at, left in enumerate(room) if left >= len(tree)), None)
        if at is None:
            batches.append([tree])
            room.append(max_tokens - len(tree))
        else:
            batches[at].append(tree)
            room[at] -= len(tree)
    return batches


def collate(
    trees: Sequence[PrefixTree],
    device: torch.device | str = "cpu",
    *,
    packed: bool = False,
    kernel: Literal["mask", "flex"] = "mask",
    multiple: int = PACKED_MULTIPLE,
    one_by_one: bool = False,
) -> MicroBatch:
    """Trees as rows that are padded on the right, or as one packed sequence.

    A packed sequence is padded to a multiple of `multiple`. With `one_by_one` its trees are
    attended to one after the other where none has branches.
    """
    lengths = np.array([len(tree) for tree in trees], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    width = int(lengths.max())
    if packed:
        width = -(-int(lengths.sum()) // multiple) * multiple
    else:
        offsets = np.arange(len(trees)) * width
    ids = np.zeros(width if packed else len(trees) * width, dtype=np.int64)
    for tree, offset in zip(trees, offsets, strict=True):
        ids[offset : offset + len(tree)] = tree.ids
    samples = tuple(sample for tree in trees for sample in tree.samples)
    paths = [path + at for tree, at in zip(trees, offsets, strict=True) for path in tree.paths]
    trained = [np.flatnonzero(sample.weights) for sample in samples]
    # A sample's token j is predicted by the hidden state of its token j−1.
    places = [path[at - 1] for path, at in zip(paths, trained, strict=True)]

    def gather(name: str) -> Tensor:
        parts = [getattr(sample, name)[at] for sample, at in zip(samples, trained, strict=True)]
        return torch.as_tensor(np.concatenate(parts)).to(device)

    owners = np.repeat(np.arange(len(samples)), [len(at) for at in trained])
    real = np.array([lengths.sum()]) if packed else lengths
    layout, branched = None, any(tree.branched for tree in trees)
    if packed or branched:
        layout = _layout(trees, offsets, (1 if packed else len(trees), width), device, kernel)
    if layout is not None and packed and one_by_one and not branched:
        layout = replace(layout, documents=_documents(offsets, lengths))
    return MicroBatch(
        samples=samples,
        ids=torch.as_tensor(ids.reshape(-1, width)).to(device),
        lengths=torch.as_tensor(real).to(device),
        places=torch.as_tensor(np.concatenate(places)).to(device),
        targets=gather("ids").long(),
        weights=gather("weights"),
        advantages=gather("advantages"),
        logprobs=gather("logprobs"),
        owners=torch.as_tensor(owners).to(device),
        turns=torch.as_tensor(turn_numbers(samples)).to(device),
        layout=layout,
    )


def _documents(
    offsets: np.typing.NDArray[np.int64], lengths: np.typing.NDArray[np.int64]
) -> Documents:
    """The bounds of documents; few counts of rows, since layers are compiled for each."""
    rows = max(MIN_BOUNDS, 1 << (len(lengths) - 1).bit_length())
    bounds = torch.zeros(rows, 2, dtype=torch.long)
    bounds[: len(lengths)] = torch.as_tensor(np.stack((offsets, offsets + lengths), 1))
    return Documents(bounds=bounds)


def _layout(
    trees: Sequence[PrefixTree],
    offsets: np.typing.NDArray[np.int64],
    shape: tuple[int, int],
    device: torch.device | str,
    kernel: Literal["mask", "flex"],
) -> SequenceLayout:
    """Positions and ends of all tokens; what pads attends to itself, as a softmax must."""
    count, width = shape
    positions = np.zeros(count * width, dtype=np.int64)
    ends = np.arange(count * width) + 1
    for tree, offset in zip(trees, offsets, strict=True):
        span = slice(offset, offset + len(tree))
        positions[span] = tree.positions()
        ends[span] = tree.ends() + offset
    ends -= np.repeat(np.arange(count) * width, width)
    return SequenceLayout(
        positions=torch.as_tensor(positions.reshape(shape)).to(device),
        ends=torch.as_tensor(ends.reshape(shape)).to(device),
        kernel=kernel,
    )
