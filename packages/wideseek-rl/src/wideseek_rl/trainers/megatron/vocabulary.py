"""Log-probabilities over a vocabulary that is divided among tensor-parallel ranks.

With z the logits over temperature, log p(y) = z_y − log Σ e^z and H = log Σ e^z − Σ p z. Each rank
computes its own columns; maximum, sum of exponentials, target logit and Σ p z are reduced over the
ranks, and no rank holds more than a chunk of its logits.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

MAX_LOGITS = 1 << 27
"""Logits that a rank holds at once; 4 bytes each."""


def vocabulary_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    vocabulary: int,
    temperature: float,
    rank: int,
    group: Any,
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each target, `[N]` each, the same on every rank.

    Args:
        hidden: `[N, D]`; its gradient on a rank is that of the rank's columns alone.
        weight: `[V / ranks, D]`, this rank's rows of the output matrix, padding included.
        targets: `[N]`, token ids.
        vocabulary: V without padding, whose columns never count.
        temperature: Divides the logits.
        rank: Of this process in `group`.
        group: The tensor-parallel process group.
    """
    first = rank * len(weight)
    columns = max(min(vocabulary - first, len(weight)), 0)
    size = max(MAX_LOGITS // len(weight), 1)
    own = weight[:columns]
    logprobs: list[Tensor] = []
    entropies: list[Tensor] = []
    for states, wanted in zip(torch.split(hidden, size), torch.split(targets, size), strict=True):
        arguments = (states, own, wanted, first, temperature, group)
        chunk = cast(Any, _Logprobs).apply(*arguments)
        logprobs.append(chunk[0])
        entropies.append(chunk[1])
    return torch.cat(logprobs), torch.cat(entropies)


class _Logprobs(torch.autograd.Function):
    """One chunk; the backward pass computes its logits again instead of keeping them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        first: int,
        temperature: float,
        group: Any,
    ) -> tuple[Tensor, Tensor]:
        logits = _logits(hidden, weight, temperature)  # [n, v]
        highest = _reduced(_highest(logits), dist.ReduceOp.MAX, group)
        exponentials = (logits - highest[:, None]).exp()
        own, here = _own(targets, first, weight)
        sums = torch.stack(
            [
                exponentials.sum(-1),
                (exponentials * logits).sum(-1),
                torch.where(own, _at(logits, here), 0.0),
            ]
        )
        total, weighted, chosen = _reduced(sums, dist.ReduceOp.SUM, group)
        log_total = highest + total.log()
        ctx.save_for_backward(hidden, weight, log_total, own, here)
        ctx.temperature = temperature
        entropy = log_total - weighted / total
        ctx.mark_non_differentiable(entropy)
        return chosen - log_total, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        gradient = gradients[0]  # the entropy has none
        hidden, weight, log_total, own, here = ctx.saved_tensors
        logits = _logits(hidden, weight, ctx.temperature)
        # d log p(y) / d z = 1[column is y] − p
        slope = (logits - log_total[:, None]).exp_().mul_(-gradient[:, None])
        if slope.shape[-1]:
            slope.scatter_add_(-1, here[:, None], torch.where(own, gradient, 0.0)[:, None])
        slope = (slope / ctx.temperature).to(hidden.dtype)
        return slope @ weight.to(hidden.dtype), (slope.t() @ hidden).to(weight.dtype), *[None] * 4


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    return (hidden @ weight.to(hidden.dtype).t()).float() / temperature


def _highest(logits: Tensor) -> Tensor:
    """The largest logit of each row; −∞ on a rank that holds nothing but padding."""
    if not logits.shape[-1]:
        return logits.new_full((len(logits),), -torch.inf)
    return logits.max(-1).values


def _own(targets: Tensor, first: int, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Which targets are among this rank's columns, and in which column (0 for the others)."""
    own = (targets >= first) & (targets < first + len(weight))
    return own, torch.where(own, targets - first, 0)


def _at(logits: Tensor, columns: Tensor) -> Tensor:
    if not logits.shape[-1]:
        return torch.zeros(len(logits), device=logits.device)
    return logits.gather(-1, columns[:, None]).squeeze(-1)


def _reduced(values: Tensor, operation: Any, group: Any) -> Tensor:
    if dist.get_world_size(group) > 1:
        values = values.contiguous()
        dist.all_reduce(values, operation, group=group)  # pyright: ignore[reportUnknownMemberType]
    return values
