"""A megatron-core `GPTModel` without TransformerEngine, and log-probabilities of its tokens."""

from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch import Tensor, nn

from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.trainers.megatron.attention import PackedCoreAttention
from wideseek_rl.trainers.megatron.batches import PackedBatch
from wideseek_rl.trainers.megatron.vocabulary import vocabulary_logprobs


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm with the constructor that a layer spec calls."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        device = None if config.use_cpu_initialization else torch.cuda.current_device()
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype, device=device)
        for parameter in self.parameters():
            # Under sequence parallelism each rank sees a part of the tokens, and its gradient.
            parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]


def build_model(
    config: Any, shape: DecoderConfig, *, padded_vocabulary: int, max_tokens: int
) -> GPTModel:
    """A `GPTModel` of a `TransformerConfig`, with the attention and norms of this package."""
    spec = get_gpt_layer_local_spec(qk_layernorm=shape.qk_norm, normalization="RMSNorm")
    layer = spec.submodules
    layer.input_layernorm = layer.pre_mlp_layernorm = RMSNorm
    attention = layer.self_attention.submodules
    attention.core_attention = PackedCoreAttention
    if shape.qk_norm:
        attention.q_layernorm = attention.k_layernorm = RMSNorm
    block = TransformerBlockSubmodules(layer_specs=[spec] * shape.layers, layer_norm=RMSNorm)
    return GPTModel(
        config=config,
        transformer_layer_spec=block,
        vocab_size=padded_vocabulary,
        max_sequence_length=max_tokens,
        position_embedding_type="rope",
        share_embeddings_and_output_weights=shape.tied_embeddings,
        parallel_output=True,
    )


def token_logprobs(
    model: GPTModel,
    batch: PackedBatch,
    frequencies: Tensor,
    shape: DecoderConfig,
    *,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Log-probability, with gradient, and entropy of each trained token, `[N]` each, in nats.

    `frequencies` are the rotary ones, `[head_dim / 2]`, in radians a position. The same on every
    tensor-parallel rank.
    """
    hidden = _hidden(model, batch, frequencies)[batch.places]  # [N, D]
    # megatron-core 0.12.3 loses the sum of a gradient that is not contiguous when it reduces it
    # over ranks, so nothing may come between this copy and the product with the output weights.
    hidden = hidden.contiguous()
    if not model.config.sequence_parallel:
        hidden = tensor_parallel.copy_to_tensor_model_parallel_region(hidden)
    weight = (
        model.embedding.word_embeddings.weight
        if shape.tied_embeddings
        else model.output_layer.weight
    )
    return vocabulary_logprobs(
        hidden,
        weight,
        batch.targets,
        vocabulary=shape.vocab_size,
        temperature=temperature,
        rank=parallel_state.get_tensor_model_parallel_rank(),
        group=parallel_state.get_tensor_model_parallel_group(),
    )


def _hidden(model: GPTModel, batch: PackedBatch, frequencies: Tensor) -> Tensor:
    """The last hidden states, `[T, D]`."""
    angles = batch.positions.float()[:, None] * frequencies  # [T, head_dim / 2]
    rotary = torch.cat((angles, angles), -1)[:, None, None]  # [T, 1, 1, head_dim]
    embedded = model.embedding(input_ids=batch.ids[None], position_ids=batch.positions[None])
    states = model.decoder(
        hidden_states=embedded, attention_mask=batch.ends, rotary_pos_emb=rotary
    )  # [T, 1, D], or a rank's part of the tokens
    if model.config.sequence_parallel:
        states = tensor_parallel.gather_from_sequence_parallel_region(
            states, tensor_parallel_output_grad=True
        )
    return states.squeeze(1)
