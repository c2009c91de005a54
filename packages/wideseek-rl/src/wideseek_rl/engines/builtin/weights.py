"""The model's weights in the form that sampling wants: few, fused matrices.

Norm weights are folded into the matrices behind them, query, key and value projections are one
matrix, gate and up another. Rows of the query and key heads are reordered so that the two numbers
that a rotation mixes are neighbours, which makes it one complex product; attention only takes dot
products of queries and keys, so the order inside a head is free.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from wideseek_core import ConfigError
from wideseek_rl.models.decoder import Decoder, Layer
from wideseek_rl.models.ops import Linear, PackedLinear
from wideseek_rl.models.rope import rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One layer: `[out, in]` matrices, and the scale of normalised query and key heads."""

    qkv: PackedLinear
    """`[(H + 2 * Hkv) * d, D]`"""
    qk_scale: Tensor
    """`[H + Hkv, d]`; queries carry the softmax scale too."""
    normalized: bool
    """Whether query and key heads are scaled to mean square 1 first."""
    out: PackedLinear
    gate_up: PackedLinear
    down: PackedLinear


class FusedWeights:
    """A copy of a model's weights for sampling; `refresh` it when the model has changed."""

    def __init__(self, model: Decoder, dtype: torch.dtype) -> None:
        if model.config.sliding_layers:
            raise ConfigError("the builtin engine has no sliding-window attention: use another")
        self.model = model
        self.config = model.config
        self.dtype = dtype
        """Of the matrices; what is between them is float32."""
        self.device = model.output_weight.device
        # On CPUs attention is bound by its kernels, and those are fastest on float32.
        self.cache_dtype = torch.float32 if self.device.type == "cpu" else dtype
        self._rope = torch.empty(0)
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Copies the model's present weights."""
        model = self.model
        self.embedding = model.model.embed_tokens.weight.to(self.dtype, copy=True)
        self.layers = [self._fuse(cast(Layer, layer)) for layer in model.model.layers]
        self.head = self._folded(model.output_weight, model.model.norm.weight)

    def rope(self, length: int) -> Tensor:
        """Rotations of positions `0..length`, complex, `[length or more, 1, d / 2]`."""
        if len(self._rope) < length:
            size = max(1024, 1 << (length - 1).bit_length())
            angles = rotation(self.config, torch.arange(size, device=self.device))
            self._rope = torch.complex(angles.cos, angles.sin)[:, None]
        return self._rope

    def _fuse(self, layer: Layer) -> LayerWeights:
        attention, mlp = layer.self_attn, layer.mlp
        before, between = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        rows = (
            self._paired(attention.q_proj.weight),
            self._paired(attention.k_proj.weight),
            attention.v_proj.weight,
        )
        qkv_bias = gate_up_bias = None
        if self.config.qkv_bias:
            q, k = self._paired(attention.q_proj.bias), self._paired(attention.k_proj.bias)
            qkv_bias = torch.cat((q, k, attention.v_proj.bias))
        if self.config.mlp_bias:
            gate_up_bias = torch.cat((mlp.gate_proj.bias, mlp.up_proj.bias))
        return LayerWeights(
            qkv=self._folded(torch.cat(rows), before, qkv_bias),
            qk_scale=self._qk_scale(layer).float(),
            normalized=self.config.qk_norm,
            out=self._copied(attention.o_proj),
            gate_up=self._folded(
                torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)), between, gate_up_bias
            ),
            down=self._copied(mlp.down_proj),
        )

    def _qk_scale(self, layer: Layer) -> Tensor:
        heads, kv_heads, dim = self.config.heads, self.config.kv_heads, self.config.head_dim
        q_norm, k_norm = layer.self_attn.q_norm, layer.self_attn.k_norm
        ones = torch.ones(dim, device=self.device)
        q = ones if q_norm is None else self._paired(q_norm.weight)
        k = ones if k_norm is None else self._paired(k_norm.weight)
        return torch.cat((q.expand(heads, dim) * dim**-0.5, k.expand(kv_heads, dim)))

    def _folded(self, matrix: Tensor, norm: Tensor, bias: Tensor | None = None) -> PackedLinear:
        return PackedLinear((matrix.float() * norm.float()).to(self.dtype), bias)

    def _copied(self, layer: Linear) -> PackedLinear:
        return PackedLinear(
            layer.weight.to(self.dtype, copy=True), cast("Tensor | None", layer.bias)
        )

    def _paired(self, rows: Tensor) -> Tensor:
        """Rows of each head in the order 0, d/2, 1, d/2 + 1, ..."""
        half = self.config.head_dim // 2
        return rows.view(-1, 2, half, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)
