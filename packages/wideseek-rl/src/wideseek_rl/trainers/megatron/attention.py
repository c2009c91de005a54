"""Core attention over packed documents for megatron-core's layer spec: fused, in linear memory.

Takes the place of `DotProductAttention`, which holds all pairs of tokens and accepts no packed
sequences. Heads are already this rank's own, so it is the same at any tensor-parallel size.
"""

from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wideseek_rl.models.documents import Documents, documents_attention, one_by_one_pays
from wideseek_rl.trainers.megatron.config import AttentionKernel


class PackedCoreAttention(nn.Module):
    """Causal attention within each document of a packed sequence.

    Where the layer spec would pass an attention mask, it gets the documents' cumulative lengths:
    an int32 tensor on the CPU, `[documents + 1]`, from 0 to the length of the sequence.
    """

    kernel: AttentionKernel = "auto"

    def __init__(self, config: Any, layer_number: int, *_: Any, **__: Any) -> None:
        super().__init__()
        self.config, self.layer_number = config, layer_number

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **_: Any
    ) -> Tensor:
        """From `[T, 1, heads, dim]` (keys and values with fewer heads) to `[T, 1, heads · dim]`."""
        q, k, v = (states.squeeze(1) for states in (query, key, value))
        if q.is_cuda and q.dtype not in (torch.float16, torch.bfloat16):
            attended = _by_document(q, k, v, attention_mask)
        elif _one_by_one(q, self.kernel):
            attended = _documents(q, k, v, attention_mask)
        elif q.is_cuda:
            attended = _variable_length(q, k, v, attention_mask)
        else:
            attended = _by_document(q, k, v, attention_mask)
        return attended.reshape(len(q), 1, -1)


def _one_by_one(q: Tensor, kernel: AttentionKernel) -> bool:
    """Whether documents are attended to by cuDNN's kernel (on a CPU: in its place, by plain torch).

    Heads that it does not know would need memory for all pairs of tokens.
    """
    if not one_by_one_pays(q.device.type, q.dtype, q.shape[-1]):
        return False
    return kernel == "documents" or (kernel == "auto" and _suits_cudnn(q))


def _suits_cudnn(q: Tensor) -> bool:
    """Whether cuDNN's kernel is the faster one: on Hopper GPUs and later, for common heads."""
    size = q.shape[-1]
    return q.is_cuda and torch.cuda.get_device_capability()[0] >= 9 and size in (64, 128)


def _variable_length(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """One kernel for all documents (FlashAttention)."""
    from torch.nn.attention.varlen import varlen_attn

    longest = int(ends.diff().max())
    on_device = ends.to(q.device, non_blocking=True)
    window = (-1, 0)  # causal
    attended = varlen_attn(q, k, v, on_device, on_device, longest, longest, window_size=window)
    return cast(Tensor, attended)  # a pair only where the log-sum-exp is asked for


def _documents(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """One call of the kernel for plain sequences (cuDNN's) a document."""
    bounds = torch.stack([ends[:-1], ends[1:]], 1).long()
    q, k, v = (states.transpose(0, 1)[None] for states in (q, k, v))  # [1, heads, T, dim]
    return documents_attention(q, k, v, Documents(bounds=bounds))[0].transpose(0, 1)


def _by_document(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """One call a document, where the kernel above does not run: float32, and CPUs."""
    spans = [slice(int(start), int(end)) for start, end in pairwise(ends)]
    # One split instead of slices: its backward pass joins the parts' gradients once.
    lengths = [span.stop - span.start for span in spans]
    parts = zip(*(torch.split(states, lengths) for states in (q, k, v)), strict=True)
    return torch.cat([_attend(*part) for part in parts])


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (states.transpose(0, 1)[None] for states in (q, k, v))  # [1, heads, T, dim]
    grouped = q.shape[1] != k.shape[1]
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    return attended[0].transpose(0, 1)  # [T, heads, dim]
