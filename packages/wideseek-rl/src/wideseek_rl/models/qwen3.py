"""The Qwen3 dense decoder in plain torch, for training.

Parameters carry the Hugging Face names, so that a state dict is a checkpoint. Sampling has its own
forward pass over the same weights, in `wideseek_rl.engines.builtin`.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl.models.ops import Linear, attention, linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Config:
    """Shape of a Qwen3 decoder and the token ids that end and pad its sequences.

    Example: `Qwen3Config(vocab_size=2048, hidden_size=256, layers=6, heads=8, kv_heads=4,
    head_dim=32, ffn_size=768, eos_ids=(2,))`.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    tied_embeddings: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    max_positions: int = 32_768
    eos_ids: tuple[int, ...] = ()
    """Any of these ends a response."""
    pad_id: int | None = None
    bos_id: int | None = None

    def __post_init__(self) -> None:
        sizes = (
            self.vocab_size,
            self.hidden_size,
            self.layers,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.ffn_size,
            self.max_positions,
        )
        if min(sizes) < 1:
            raise ValueError(f"every size of a model must be at least 1: {sizes}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} key-value heads")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Cosines and sines of the rotary embedding.

    Each `[T, head_dim / 2]`, or `[B, 1, T, head_dim / 2]` where a batch's sequences count
    differently.
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Rotates `[B, heads, T, head_dim]`; dimension i is paired with i + head_dim / 2."""
        a, b = x.chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rotation(config: Qwen3Config, positions: Tensor) -> Rotation:
    """The rotation at positions `[T]` or `[B, T]`, computed in float32."""
    exponent = torch.arange(0, config.head_dim, 2, device=positions.device).float()
    frequencies = config.rope_theta ** -(exponent / config.head_dim)
    angles = positions.float()[..., None] * frequencies
    if positions.dim() > 1:
        angles = angles[:, None]  # [B, 1, T, d / 2]: the same for all heads
    return Rotation(angles.cos(), angles.sin())


class RMSNorm(nn.Module):
    """Scales the last dimension to mean square 1, then by a learnt weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises in float32 whatever the dtype of `x`."""
        normed = F.rms_norm(x.float(), self.weight.shape, eps=self.eps)
        return normed.to(x.dtype) * self.weight


class Attention(nn.Module):
    """Causal attention with grouped key-value heads and normalised queries and keys."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        hidden, dim = config.hidden_size, config.head_dim
        self.head_dim = dim
        self.q_proj = Linear(hidden, config.heads * dim)
        self.k_proj = Linear(hidden, config.kv_heads * dim)
        self.v_proj = Linear(hidden, config.kv_heads * dim)
        self.o_proj = Linear(config.heads * dim, hidden)
        self.q_norm = RMSNorm(dim, config.norm_eps)
        self.k_norm = RMSNorm(dim, config.norm_eps)

    def forward(self, x: Tensor, rotate: Rotation, mask: Tensor | None = None) -> Tensor:
        """Every position attends to itself and to those before it: `[B, T, D] -> [B, T, D]`.

        With a mask `[B, 1, T, T]`, to those that it allows.
        """
        split = (*x.shape[:2], -1, self.head_dim)
        q = rotate(self.q_norm(self.q_proj(x).view(split)).transpose(1, 2))  # [B, H, T, d]
        k = rotate(self.k_norm(self.k_proj(x).view(split)).transpose(1, 2))
        v = self.v_proj(x).view(split).transpose(1, 2)
        return self.o_proj(attention(q, k, v, mask).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """The SwiGLU feed-forward block."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.ffn_size)
        self.up_proj = Linear(config.hidden_size, config.ffn_size)
        self.down_proj = Linear(config.ffn_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., D] -> [..., D]`."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer: attention and feed-forward, each on a normalised residual stream."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, rotate: Rotation, mask: Tensor | None = None) -> Tensor:
        """`[B, T, D] -> [B, T, D]`, under a mask `[B, 1, T, T]` if there is one."""
        x = x + self.self_attn(self.input_layernorm(x), rotate, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Embedding(nn.Embedding):
    """A table of vectors, `[V, D]`, with whatever is in its memory until somebody sets it."""

    def reset_parameters(self) -> None:
        """Draws nothing: on the `meta` device torch would load its whole compiler to do so."""


class Decoder(nn.Module):
    """Embeddings, layers and final norm; exists so that the parameters get their usual names."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)


class Qwen3(nn.Module):
    """A Qwen3 language model.

    `hidden` and `logits` are apart because logits of a whole batch are large: compute them only
    where a loss needs them.
    """

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = (
            None if config.tied_embeddings else Linear(config.hidden_size, config.vocab_size)
        )
        self.checkpoint_layers = False
        """Recompute each layer in the backward pass instead of keeping its activations."""

    def hidden(
        self,
        ids: Tensor,
        lengths: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Final hidden states of right-padded sequences.

        Causal attention never looks right, so padding can't reach a real token; what stands at
        padded positions is zero.

        Args:
            ids: `[B, T]`, any valid id where padded.
            lengths: `[B]`, real tokens of each row.
            positions: `[B, T]` where a row does not count from 0 to T - 1.
            mask: `[B, 1, T, T]`, true where a token may attend, in place of causal attention.

        Returns:
            `[B, T, D]`.
        """
        x: Tensor = self.model.embed_tokens(ids)
        places = torch.arange(ids.shape[1], device=ids.device)
        rotate = rotation(self.config, places if positions is None else positions)
        for layer in self.model.layers:
            if self.checkpoint_layers and torch.is_grad_enabled():
                x = cast(Tensor, checkpoint(layer, x, rotate, mask, use_reentrant=False))
            else:
                x = layer(x, rotate, mask)
        real = places < lengths.to(ids.device)[:, None]
        return torch.where(real[..., None], self.model.norm(x), 0.0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token: `[..., D] -> [..., V]`."""
        return linear(hidden, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """The matrix that makes logits, `[V, D]`: the embedding where the two are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight


def new_model(config: Qwen3Config, seed: int) -> Qwen3:
    """A float32 model with fresh weights: normal with deviation 0.02, norms at 1."""
    model = Qwen3(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
    return model
