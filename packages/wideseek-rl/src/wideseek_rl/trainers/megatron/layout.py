"""Hugging Face and megatron-core names of the same weights, whole and as tensor-parallel shards.

Megatron joins query, key and value projections (group by group: that group's query heads, its key,
its value) and the gate and up projections. Everything here is a permutation of elements, so it maps
gradients and Adam's moments as well as weights, and a round trip is exact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from wideseek_rl.models.config import DecoderConfig


class Split(StrEnum):
    """How a parameter is divided among tensor-parallel ranks."""

    REPLICATED = "replicated"
    """Every rank has all of it."""
    ROWS = "rows"
    """Cut along the first dimension."""
    GATE_UP = "gate_up"
    """Two matrices in one, each cut along the first dimension."""
    COLUMNS = "columns"
    """Cut along the second dimension."""
    VOCABULARY = "vocabulary"
    """Cut along the first dimension, after padding to a multiple of the ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One Megatron parameter and the Hugging Face tensors that it consists of."""

    name: str
    """Of the parameter in a `GPTModel`."""
    parts: tuple[str, ...]
    """Hugging Face names: one, gate and up, or query, key and value."""
    split: Split
    stage: int = 0
    """The pipeline stage that holds it."""
    copied: bool = False
    """Whether it is a second copy, which is read from a checkpoint but not written."""


EMBEDDING = "model.embed_tokens.weight"


def entries(config: DecoderConfig, stages: int = 1) -> Iterator[Entry]:
    """All parameters of a model, in the order of a Hugging Face checkpoint.

    Each of the pipeline's `stages` has equally many layers and numbers its own from 0. The first
    one has the embedding, the last one the output matrix: a copy of the embedding if both are tied.
    """
    each, last = config.layers // stages, stages - 1
    yield _entry("embedding.word_embeddings.weight", Split.VOCABULARY, EMBEDDING)
    for layer in range(config.layers):
        ours, theirs = f"decoder.layers.{layer % each}.", f"model.layers.{layer}."
        for entry in _layer(config, ours, theirs):
            yield replace(entry, stage=layer // each)
    norm = _entry("decoder.final_layernorm.weight", Split.REPLICATED, "model.norm.weight")
    yield replace(norm, stage=last)
    output = _entry("output_layer.weight", Split.VOCABULARY, "lm_head.weight")
    if not config.tied_embeddings:
        yield replace(output, stage=last)
    elif last:
        yield replace(output, parts=(EMBEDDING,), stage=last, copied=True)


def _layer(config: DecoderConfig, ours: str, theirs: str) -> Iterator[Entry]:
    attention, mlp = f"{ours}self_attention.", f"{ours}mlp."
    for kind in ("weight", "bias") if config.qkv_bias else ("weight",):
        parts = tuple(f"{theirs}self_attn.{part}_proj.{kind}" for part in "qkv")
        yield Entry(name=f"{attention}linear_qkv.{kind}", parts=parts, split=Split.ROWS)
    yield _entry(
        f"{attention}linear_proj.weight", Split.COLUMNS, f"{theirs}self_attn.o_proj.weight"
    )
    if config.qk_norm:
        for part in "qk":
            norm = f"{theirs}self_attn.{part}_norm.weight"
            yield _entry(f"{attention}{part}_layernorm.weight", Split.REPLICATED, norm)
    gate_up = (f"{theirs}mlp.gate_proj.weight", f"{theirs}mlp.up_proj.weight")
    yield Entry(name=f"{mlp}linear_fc1.weight", parts=gate_up, split=Split.GATE_UP)
    yield _entry(f"{mlp}linear_fc2.weight", Split.COLUMNS, f"{theirs}mlp.down_proj.weight")
    norm = f"{theirs}input_layernorm.weight"
    yield _entry(f"{ours}input_layernorm.weight", Split.REPLICATED, norm)
    norm = f"{theirs}post_attention_layernorm.weight"
    yield _entry(f"{ours}pre_mlp_layernorm.weight", Split.REPLICATED, norm)


def _entry(name: str, split: Split, part: str) -> Entry:
    return Entry(name=name, parts=(part,), split=split)


def join(entry: Entry, tensors: Sequence[Tensor], config: DecoderConfig) -> Tensor:
    """The whole Megatron tensor from its Hugging Face tensors, in the order of `entry.parts`."""
    if len(tensors) == 3:
        groups = [part.view(config.kv_heads, -1, *part.shape[1:]) for part in tensors]
        return torch.cat(groups, 1).flatten(0, 1)
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def part(entry: Entry, whole: Tensor, config: DecoderConfig) -> dict[str, Tensor]:
    """The Hugging Face tensors that a whole Megatron tensor consists of, by name."""
    if len(entry.parts) == 3:
        queries = config.heads // config.kv_heads * config.head_dim
        groups = whole.view(config.kv_heads, -1, *whole.shape[1:])
        cut = torch.split(groups, [queries, config.head_dim, config.head_dim], 1)
        return {name: piece.flatten(0, 1) for name, piece in zip(entry.parts, cut, strict=True)}
    pieces = whole.chunk(len(entry.parts))
    if entry.split is Split.VOCABULARY:
        pieces = (pieces[0][: config.vocab_size],)
    return dict(zip(entry.parts, pieces, strict=True))


def shard(entry: Entry, whole: Tensor, rank: int, ranks: int) -> Tensor:
    """What one tensor-parallel rank holds of a whole Megatron tensor."""
    match entry.split:
        case Split.REPLICATED:
            return whole
        case Split.ROWS:
            return whole.chunk(ranks)[rank]
        case Split.COLUMNS:
            return whole.chunk(ranks, 1)[rank]
        case Split.GATE_UP:
            return torch.cat([half.chunk(ranks)[rank] for half in whole.chunk(2)])
        case Split.VOCABULARY:
            missing = -len(whole) % ranks
            padding = whole.new_zeros(missing, *whole.shape[1:])
            return torch.cat([whole, padding]).chunk(ranks)[rank]


def unshard(entry: Entry, shards: Sequence[Tensor]) -> Tensor:
    """The whole Megatron tensor from what all tensor-parallel ranks hold."""
    match entry.split:
        case Split.REPLICATED:
            return shards[0]
        case Split.ROWS | Split.VOCABULARY:
            return torch.cat(list(shards))
        case Split.COLUMNS:
            return torch.cat(list(shards), 1)
        case Split.GATE_UP:
            halves = [piece.chunk(2) for piece in shards]
            return torch.cat([half[side] for side in range(2) for half in halves])
