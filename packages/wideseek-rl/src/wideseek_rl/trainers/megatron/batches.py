"""The samples of an update, dealt to data-parallel ranks and packed into micro-batches."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wideseek_rl.batch.samples import TrainingSample, turn_numbers

PAIR_COST = 1e-5
"""What a pair of tokens costs in attention, in costs of a token in everything else."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedBatch:
    """Documents behind one another as one sequence: T tokens, N of which train."""

    ids: Tensor
    """`[T]`, int64."""
    positions: Tensor
    """`[T]`, of each token in its own document."""
    ends: Tensor
    """`[documents + 1]`, int32 on the CPU: cumulative lengths, from 0 to T."""
    places: Tensor
    """`[N]`, the tokens whose hidden states predict the trained ones."""
    targets: Tensor
    """`[N]`, the trained tokens."""
    weights: Tensor
    advantages: Tensor
    logprobs: Tensor
    """`[N]` each; log-probabilities are those of the sampler, in nats."""
    owners: Tensor
    turns: Tensor
    """`[N]` each: the numbers of the document and of the turn that a token is of."""
    documents: tuple[int, ...]
    """The samples of the step that the documents are, by their place in it."""


def cost(tokens: int) -> float:
    """How long a document takes, in arbitrary units: linear layers, and half of all pairs."""
    return tokens + PAIR_COST * tokens**2 / 2


def deal(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Which documents each data-parallel rank takes, so that all take about equally long.

    The longest go first, each to the rank with the least to do. Deterministic, so that every rank
    computes the same and no rank needs a message.
    """
    loads = [(0.0, rank) for rank in range(ranks)]
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        load, rank = heapq.heappop(loads)
        dealt[rank].append(index)
        heapq.heappush(loads, (load + cost(lengths[index]), rank))
    return dealt


def pack(lengths: Sequence[int], chosen: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Documents in micro-batches of at most `max_tokens` tokens, or one longer document each."""
    batches: list[list[int]] = []
    used = max_tokens + 1
    for index in chosen:
        if used + lengths[index] > max_tokens:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += lengths[index]
    return batches


def collate(
    samples: Sequence[TrainingSample],
    chosen: Sequence[int],
    *,
    multiple: int,
    device: torch.device,
) -> PackedBatch:
    """The chosen samples as one packed sequence, whose length is a multiple of `multiple`.

    What pads it is a document of its own that nothing attends to and that does not train. With
    nothing chosen it is all there is: a rank without work runs it to join in the reductions.
    """
    documents = [samples[index].ids for index in chosen]
    length = sum(map(len, documents))
    padding = -length % multiple or (0 if length else multiple)
    if padding:
        documents.append(np.zeros(padding, dtype=np.int32))
    lengths = [len(document) for document in documents]
    ends = np.cumsum([0, *lengths])
    trained = [np.flatnonzero(samples[index].weights) for index in chosen]
    places = [start + at - 1 for start, at in zip(ends, trained, strict=False)]

    def gathered(name: str, kind: torch.dtype) -> Tensor:
        parts = [getattr(samples[n], name)[at] for n, at in zip(chosen, trained, strict=True)]
        return torch.as_tensor(np.concatenate([np.zeros(0), *parts])).to(device, kind)

    owners = np.repeat(np.arange(len(trained)), [len(at) for at in trained])
    return PackedBatch(
        ids=torch.as_tensor(np.concatenate(documents)).to(device, torch.int64),
        positions=torch.as_tensor(np.concatenate([np.arange(n) for n in lengths])).to(device),
        ends=torch.as_tensor(ends, dtype=torch.int32),
        places=torch.as_tensor(np.concatenate([np.zeros(0, int), *places])).to(device),
        targets=gathered("ids", torch.int64),
        weights=gathered("weights", torch.float32),
        advantages=gathered("advantages", torch.float32),
        logprobs=gathered("logprobs", torch.float32),
        owners=torch.as_tensor(owners).to(device),
        turns=torch.as_tensor(turn_numbers([samples[n] for n in chosen])).to(device),
        documents=tuple(chosen),
    )
