"""Sizes of a model, from its folder or, where it is not there yet, from the published ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What memory and time depend on."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    tied: bool
    experts: int = 1
    """Feed-forward blocks of a layer; `ffn` is the size of one."""

    @property
    def parameters(self) -> int:
        """All of them."""
        heads = (2 * self.heads + 2 * self.kv_heads) * self.head_dim * self.hidden
        ffn = 3 * self.hidden * self.ffn * self.experts
        router = self.hidden * self.experts if self.experts > 1 else 0
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * (heads + ffn + router) + embeddings

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, in 16 bits."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2

    def training_flops(self, length: float) -> float:
        """FLOPs of one token's forward and backward pass in sequences of a mean length."""
        matrices = self.parameters - (0 if self.tied else self.vocabulary * self.hidden)
        attention = self.layers * self.heads * self.head_dim * length
        return 6.0 * (matrices + attention)


def _qwen3(hidden: int, layers: int, heads: int, ffn: int, *, tied: bool = True) -> ModelShape:
    return ModelShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        ffn=ffn,
        vocabulary=151_936,
        tied=tied,
    )


PUBLISHED = {
    "qwen3-0.6b": _qwen3(1024, 28, 16, 3072),
    "qwen3-1.7b": _qwen3(2048, 28, 16, 6144),
    "qwen3-4b": _qwen3(2560, 36, 32, 9728),
    "qwen3-8b": _qwen3(4096, 36, 32, 12_288, tied=False),
    "qwen3-30b-a3b": ModelShape(
        hidden=2048,
        layers=48,
        heads=32,
        kv_heads=4,
        head_dim=128,
        ffn=768,
        vocabulary=151_936,
        tied=False,
        experts=128,
    ),
}
"""Shapes by the beginning of a model's name."""


def shape_of(model: Path) -> ModelShape | None:
    """The shape of a model folder; of one that is not there, by its name; None if unknown."""
    try:
        values = json.loads((model / "config.json").read_text("utf-8"))
        return _from_json(values)
    except (OSError, ValueError, KeyError, TypeError):
        name = model.name.lower()
    found = [key for key in PUBLISHED if name.startswith(key)]
    return PUBLISHED[max(found, key=len)] if found else None


def _from_json(values: dict[str, Any]) -> ModelShape:
    heads, hidden = values["num_attention_heads"], values["hidden_size"]
    experts = values.get("num_experts", 1)
    return ModelShape(
        hidden=hidden,
        layers=values["num_hidden_layers"],
        heads=heads,
        kv_heads=values.get("num_key_value_heads", heads),
        head_dim=values.get("head_dim") or hidden // heads,
        ffn=values["moe_intermediate_size"] if experts > 1 else values["intermediate_size"],
        vocabulary=values["vocab_size"],
        tied=values.get("tie_word_embeddings", True),
        experts=experts,
    )
