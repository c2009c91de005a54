"""The dense decoder of the Llama, Mistral and Qwen families in plain torch, for training.

Parameters carry the Hugging Face names, so that a state dict is a checkpoint. Sampling has its own
forward pass over the same weights, in `wideseek_rl.engines.builtin`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.layout import SequenceLayout, causal_layout
from wideseek_rl.models.ops import Linear, attention, linear
from wideseek_rl.models.rope import beside_heads, rotate, rotation

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    from wideseek_rl.models.documents import Documents

Recompute = Literal["none", "cheap", "mlp", "layer", "mixed"]
"""What the backward pass computes again instead of keeping: nothing, what the compiler finds to
cost next to nothing, the feed-forward blocks (the greater part of the memory for a sixth of the
time), whole layers, or both in turn."""

Result = TypeVar("Result")


class RMSNorm(nn.Module):
    """Scales the last dimension to mean square 1, then by a learnt weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes in float32 whatever the dtype of `x`."""
        normed = F.rms_norm(x.float(), self.weight.shape, eps=self.eps)
        return normed.to(x.dtype) * self.weight


class Attention(nn.Module):
    """Attention with grouped key-value heads; queries and keys may be normalized."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        hidden, dim = config.hidden_size, config.head_dim
        self.head_dim = dim
        self.q_proj = Linear(hidden, config.heads * dim, bias=config.qkv_bias)
        self.k_proj = Linear(hidden, config.kv_heads * dim, bias=config.qkv_bias)
        self.v_proj = Linear(hidden, config.kv_heads * dim, bias=config.qkv_bias)
        self.o_proj = Linear(config.heads * dim, hidden, bias=config.output_bias)
        self.q_norm = RMSNorm(dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(dim, config.norm_eps) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        pattern: "Tensor | BlockMask | Documents | None" = None,
    ) -> Tensor:
        """`[B, T, D] -> [B, T, D]`; plainly causal without a pattern."""
        split = (*x.shape[:2], -1, self.head_dim)
        q, k = self.q_proj(x).view(split), self.k_proj(x).view(split)  # [B, T, H, d]
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        # Heads stay beside each other in memory all the way, so that nothing is copied to put
        # them there again.
        cos, sin = beside_heads(cos), beside_heads(sin)
        q, k = rotate(q, cos, sin).transpose(1, 2), rotate(k, cos, sin).transpose(1, 2)
        v = self.v_proj(x).view(split).transpose(1, 2)
        return self.o_proj(attention(q, k, v, pattern).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """The SwiGLU feed-forward block."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        hidden, size, bias = config.hidden_size, config.ffn_size, config.mlp_bias
        self.gate_proj = Linear(hidden, size, bias=bias)
        self.up_proj = Linear(hidden, size, bias=bias)
        self.down_proj = Linear(size, hidden, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., D] -> [..., D]`."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer: attention and feed-forward, each on a normalized residual stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.recompute: Literal["none", "mlp", "layer"] = "none"

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        pattern: "Tensor | BlockMask | Documents | None" = None,
    ) -> Tensor:
        """`[B, T, D] -> [B, T, D]`."""
        recompute = self.recompute if torch.is_grad_enabled() else "none"
        if recompute == "layer":
            return _again(self._whole, x, cos, sin, pattern)
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, pattern)
        return _again(self._feed_forward, x) if recompute == "mlp" else self._feed_forward(x)

    def _whole(
        self, x: Tensor, cos: Tensor, sin: Tensor, pattern: "Tensor | BlockMask | Documents | None"
    ) -> Tensor:
        return self._feed_forward(x + self.self_attn(self.input_layernorm(x), cos, sin, pattern))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.post_attention_layernorm(x))


def _again(
    compute: Callable[..., Tensor], *arguments: "Tensor | BlockMask | Documents | None"
) -> Tensor:
    """The result, computed again in the backward pass. Nothing in a layer draws random numbers."""
    return cast(
        Tensor, checkpoint(compute, *arguments, use_reentrant=False, preserve_rng_state=False)
    )


class Embedding(nn.Embedding):
    """A table of vectors, `[V, D]`, with whatever is in its memory until somebody sets it."""

    def reset_parameters(self) -> None:
        """Draws nothing: on the `meta` device torch would load its whole compiler to do so."""


class DecoderStack(nn.Module):
    """Embeddings, layers and final norm; exists so that the parameters get their usual names."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)


class Decoder(nn.Module):
    """A language model of the Llama, Mistral, Qwen2 or Qwen3 family.

    `hidden` and `logits` are apart because logits of a whole batch are large: compute them only
    where a loss needs them.
    """

    shares_prefixes = True
    """A layout may hold prefix trees."""
    packs = True
    """Samples of one sequence see nothing of each other."""
    plain_head = True
    """Logits are the product of hidden states and `output_weight`, and no more."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = DecoderStack(config)
        self.lm_head = (
            None if config.tied_embeddings else Linear(config.hidden_size, config.vocab_size)
        )

    def recompute(self, what: Recompute, *, every: float = 1) -> None:
        """Sets what the backward pass of every n-th layer computes again.

        `every` need not be whole: 2.5 is two layers of five. With `mixed` every n-th layer (every
        second one where n is below 2) is computed again as a whole, of the others the feed-forward
        block.
        """
        mixed = what == "mixed"
        # What is cheap is the compiler's choice, for all layers alike.
        chosen, others = ("layer", "mlp") if mixed else (what, "none")
        chosen = "none" if chosen == "cheap" else chosen
        last, every = -1, max(every, 2) if mixed else every
        for number, layer in enumerate(self.model.layers):
            group = int(number / every)
            cast(Layer, layer).recompute = chosen if group != last else others
            last = group

    def hidden(self, ids: Tensor, lengths: Tensor, layout: SequenceLayout | None = None) -> Tensor:
        """Final hidden states of right-padded sequences.

        Attention never looks right, so padding can't reach a real token; the values at padded
        positions is zero.

        Args:
            ids: `[B, T]`, any valid id where padded.
            lengths: `[B]`, real tokens of each sequence.
            layout: how tokens see each other, where a sequence is not plainly causal.

        Returns:
            `[B, T, D]`.
        """
        x: Tensor = self.model.embed_tokens(ids)
        places = torch.arange(ids.shape[1], device=ids.device)
        turned = rotation(self.config, places if layout is None else layout.positions)
        patterns = self._patterns(ids, layout)
        for number, layer in enumerate(self.model.layers):
            x = layer(x, turned.cos, turned.sin, patterns[self.config.window(number)])
        real = places < lengths.to(ids.device)[:, None]
        return torch.where(real[..., None], self.model.norm(x), 0.0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token: `[..., D] -> [..., V]`."""
        return linear(hidden, self.output_weight)

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor,
        layout: SequenceLayout | None,
        head: Callable[[Tensor, Tensor], Result],
    ) -> Result:
        """Applies `head` to the hidden states and the output matrix.

        Inside of the call, so that a sharded model has gathered the matrix.
        """
        return head(self.hidden(ids, lengths, layout), self.output_weight)

    def published(self, name: str, tensor: Tensor) -> Mapping[str, Tensor]:
        """What a checkpoint holds of a parameter: itself."""
        return {name: tensor}

    @property
    def output_weight(self) -> Tensor:
        """The matrix that makes logits, `[V, D]`: the embedding where the two are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def _patterns(
        self, ids: Tensor, layout: SequenceLayout | None
    ) -> "dict[int | None, Tensor | BlockMask | Documents | None]":
        """What the attention of layers of each window takes."""
        config, found = self.config, dict[int | None, "Tensor | BlockMask | Documents | None"]()
        for window in {config.window(number) for number in range(config.layers)}:
            if window is not None and ids.shape[1] <= window:
                found[window] = None if layout is None else layout.pattern()
            elif layout is None:
                found[window] = None if window is None else causal_layout(ids).pattern(window)
            else:
                found[window] = layout.pattern(window)
        return found


def new_model(config: DecoderConfig, seed: int) -> Decoder:
    """A float32 model with fresh weights: normal with deviation 0.02, norms at 1, biases at 0."""
    model = Decoder(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
    return model
