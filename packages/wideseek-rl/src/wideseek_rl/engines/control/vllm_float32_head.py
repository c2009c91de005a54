"""Logits in float32 for vLLM before 0.32, which rounds them to the type of the weights.

Steps of bfloat16 are 0.125 for logits of 16 to 32. A worker of vLLM that imports this module, to
mix its class in, computes the same product of the same numbers without the rounding.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUntypedClassDecorator=false

from typing import Any, cast

import torch
from torch import Tensor
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

from wideseek_rl.engines.control.vllm_worker import ChecksumExtension


@LogitsProcessor.register_oot(name="LogitsProcessor")
class Float32LogitsProcessor(LogitsProcessor):
    """Takes the place of vLLM's own in every model that is made afterwards."""

    def _get_logits(
        self, hidden_states: Tensor, lm_head: Any, embedding_bias: Tensor | None, *others: Any
    ) -> Tensor | None:
        if others or not isinstance(lm_head.quant_method, UnquantizedEmbeddingMethod):
            return super()._get_logits(hidden_states, lm_head, embedding_bias, *others)
        logits = float32_product(hidden_states, lm_head.weight)
        if embedding_bias is not None:
            logits += embedding_bias
        gathered = cast(Tensor | None, self._gather_logits(logits))
        return None if gathered is None else gathered[..., : self.org_vocab_size]


class Float32HeadExtension(ChecksumExtension):
    """What `--worker-extension-cls` names, so that workers import this module."""


def float32_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """`[n, D], [V, D] -> [n, V]` in float32; on a GPU without a float32 copy of the weights."""
    if hidden.is_cuda and hidden.dtype != torch.float32:
        return cast(Any, torch).mm(hidden, weight.t(), out_dtype=torch.float32)
    return hidden.float() @ weight.float().t()
