"""A megatron-core `GPTModel` without TransformerEngine, and log-probabilities of its tokens."""

from typing import Any, Literal

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.transformer_block import (
    TransformerBlockSubmodules,
    get_num_layers_to_build,
)
from torch import Tensor, nn

from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.trainers.head import HeadOptions
from wideseek_rl.trainers.megatron.attention import PackedCoreAttention
from wideseek_rl.trainers.megatron.batches import PackedBatch
from wideseek_rl.trainers.megatron.config import AttentionKernel
from wideseek_rl.trainers.megatron.kernels import rms_norm
from wideseek_rl.trainers.megatron.vocabulary import Head

Recompute = Literal["none", "core_attn", "mlp", "full"]
"""What of a layer the backward pass computes again: nothing, a part of it, or all."""


class RMSNorm(nn.RMSNorm):
    """RMSNorm with the constructor that a layer spec calls, in the type of its input."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        device = None if config.use_cpu_initialization else torch.cuda.current_device()
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype, device=device)
        for parameter in self.parameters():
            # Under sequence parallelism each rank sees a part of the tokens, and its gradient.
            parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        """Norms the last dimension."""
        return rms_norm(x, self.weight, self.eps or 0.0)


def build_model(
    config: Any,
    shape: DecoderConfig,
    *,
    first: bool,
    last: bool,
    padded_vocabulary: int,
    max_tokens: int,
    dtype: torch.dtype,
) -> GPTModel:
    """A pipeline stage of a `TransformerConfig`, with the attention and norms of this package.

    Its hidden states are of type `dtype`, which all its layers compute in.
    """
    # Micro-batches differ in length, so stages tell each other the shape of what they send.
    config.variable_seq_lengths = True
    config.pipeline_dtype = dtype
    # Weights are read from a folder; random ones would take minutes on a CPU.
    config.init_method = config.output_layer_init_method = _unchanged
    spec = get_gpt_layer_local_spec(qk_layernorm=shape.qk_norm, normalization="RMSNorm")
    layer = spec.submodules
    layer.input_layernorm = layer.pre_mlp_layernorm = RMSNorm
    attention = layer.self_attention.submodules
    attention.core_attention = PackedCoreAttention
    if shape.qk_norm:
        attention.q_layernorm = attention.k_layernorm = RMSNorm
    layers = [spec] * get_num_layers_to_build(config)
    block = TransformerBlockSubmodules(layer_specs=layers, layer_norm=RMSNorm)
    return GPTModel(
        config=config,
        transformer_layer_spec=block,
        vocab_size=padded_vocabulary,
        max_sequence_length=max_tokens,
        pre_process=first,
        post_process=last,
        position_embedding_type="rope",
        share_embeddings_and_output_weights=shape.tied_embeddings,
        parallel_output=True,
    )


def _unchanged(weight: Tensor) -> Tensor:
    return weight


def set_recompute(model: GPTModel, kind: Recompute, layers: int | None = None) -> None:
    """Has the backward pass compute a part of the first layers again; of all by default."""
    block = model.decoder
    count = len(block.layers) if layers is None else min(layers, len(block.layers))
    block.config.recompute_granularity = "full" if kind == "full" and count else None
    block.config.recompute_method = "block"
    block.config.recompute_num_layers = count
    for number, layer in enumerate(block.layers):
        layer.recompute_mlp = kind == "mlp" and number < count
        layer.self_attention.checkpoint_core_attention = kind == "core_attn" and number < count


def set_attention(model: GPTModel, kernel: AttentionKernel) -> None:
    """Chooses the kernel of core attention."""
    for layer in model.decoder.layers:
        layer.self_attention.core_attention.kernel = kernel


def bare(model: Any) -> GPTModel:
    """The model within what trains it: a list of one, and wrappers around that."""
    if isinstance(model, list):
        (model,) = model
    while hasattr(model, "module"):
        model = model.module
    return model


def hidden_states(model: GPTModel, batch: PackedBatch, frequencies: Tensor) -> Tensor:
    """The hidden states that a stage gives, `[T, 1, D]`, or a rank's part of the tokens.

    `frequencies` are the rotary ones, `[head_dim / 2]`, in radians a position. Stages behind the
    first one take the states that the schedule has given them.
    """
    angles = batch.positions.float()[:, None] * frequencies  # [T, head_dim / 2]
    rotary = torch.cat((angles, angles), -1)[:, None, None]  # [T, 1, 1, head_dim]
    embedded = None
    if model.pre_process:
        embedded = model.embedding(input_ids=batch.ids[None], position_ids=batch.positions[None])
        embedded = embedded.to(model.config.pipeline_dtype)
    return model.decoder(hidden_states=embedded, attention_mask=batch.ends, rotary_pos_emb=rotary)


def trained_states(model: GPTModel, states: Tensor, batch: PackedBatch) -> Tensor:
    """The hidden states that predict the trained tokens, `[N, D]`, from those of the last stage.

    The same on every tensor-parallel rank, which reduces their gradient.
    """
    if model.config.sequence_parallel:
        states = tensor_parallel.gather_from_sequence_parallel_region(
            states, tensor_parallel_output_grad=True
        )
    # megatron-core 0.12.3 loses the sum of a gradient that is not contiguous when it reduces it
    # over ranks, so nothing may come between this copy and the product with the output weights.
    hidden = states.squeeze(1)[batch.places].contiguous()
    if not model.config.sequence_parallel:
        hidden = tensor_parallel.copy_to_tensor_model_parallel_region(hidden)
    return hidden


def output_head(
    model: GPTModel, shape: DecoderConfig, *, temperature: float
) -> tuple[Tensor, Head]:
    """This rank's rows of the output matrix, and how it is divided."""
    tied = shape.tied_embeddings
    head = Head(
        vocabulary=shape.vocab_size,
        rank=parallel_state.get_tensor_model_parallel_rank(),
        group=parallel_state.get_tensor_model_parallel_group(),
        options=HeadOptions(temperature=temperature),
    )
    weight = model.shared_embedding_or_output_weight() if tied else model.output_layer.weight
    return weight, head
