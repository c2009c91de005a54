"""Log-probabilities over a vocabulary that is divided among tensor-parallel ranks.

With z the logits over temperature, log p(y) = z_y − log Σ e^z and H = log Σ e^z − Σ p z. Each rank
computes its own columns, a chunk of tokens at a time and in float32; maximum, sum of exponentials,
target logit and Σ p z are reduced over the ranks. No chunk of logits outlives its use.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from wideseek_rl.models.ops import MIN_LOGPROB
from wideseek_rl.trainers.head import Gradients, HeadOptions, SpanLoss, local_loss, logits_of, spans
from wideseek_rl.trainers.loss import LossOutputs
from wideseek_rl.trainers.megatron.kernels import fast


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """The output matrix as a tensor-parallel rank holds it."""

    vocabulary: int
    """Columns without padding, which alone count."""
    rank: int
    """Of this process in `group`."""
    group: Any
    """The tensor-parallel process group."""
    options: HeadOptions

    def first(self, weight: Tensor) -> int:
        """The token that this rank's first row belongs to."""
        return self.rank * len(weight)

    def own(self, weight: Tensor) -> Tensor:
        """This rank's rows without padding."""
        return weight[: max(min(self.vocabulary - self.first(weight), len(weight)), 0)]


def vocabulary_logprobs(
    hidden: Tensor, weight: Tensor, targets: Tensor, head: Head
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each target, `[N]` each, the same on every rank.

    The backward pass makes the logits again.

    Args:
        hidden: `[N, D]`; its gradient on a rank is that of the rank's columns alone.
        weight: `[V / ranks, D]`, this rank's rows of the output matrix, padding included.
        targets: `[N]`, token ids.
        head: How the matrix is divided.
    """
    apply = cast(Any, _Logprobs).apply
    return cast(tuple[Tensor, Tensor], apply(hidden, weight, targets, head))


def vocabulary_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, head: Head, loss: SpanLoss
) -> LossOutputs:
    """The loss of all targets, whose gradient is made with it: no logits are made twice.

    As `vocabulary_logprobs`, for losses in which a token's cost depends on that token alone.
    """
    value, sums = cast(Any, _Loss).apply(hidden, weight, targets, head, loss)
    return LossOutputs(loss=value, sums=sums)


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, head: Head
    ) -> tuple[Tensor, Tensor]:
        chunks = _Chunks(hidden, weight, targets, head)
        parts = [chunks.statistics(span, chunks.logits(span)) for span in chunks.spans]
        logprobs, entropies, normalizers = (torch.cat(list(p)) for p in zip(*parts, strict=True))
        ctx.save_for_backward(hidden, weight, targets, normalizers)
        ctx.head = head
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, of_logprobs: Tensor, of_entropies: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, normalizers = cast(tuple[Tensor, ...], ctx.saved_tensors)
        chunks = _Chunks(hidden, weight, targets, ctx.head)
        total = chunks.gradients()
        for span in chunks.spans:
            logits = chunks.logits(span)
            chunks.add(total, span, logits, normalizers[span], of_logprobs[span])
        return total.states, chunks.padded(total.weight), None, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, head: Head, loss: SpanLoss
    ) -> tuple[Tensor, Tensor]:
        chunks = _Chunks(hidden, weight, targets, head)
        total = chunks.gradients()
        value = torch.zeros((), device=hidden.device)
        sums: list[Tensor] = []
        for span in chunks.spans:
            logits = chunks.logits(span)
            logprobs, entropies, normalizers = chunks.statistics(span, logits)
            outputs, slope, _ = local_loss(loss, logprobs, entropies, span, entropy_grad=False)
            value += outputs.loss.detach()
            sums.append(outputs.sums)
            chunks.add(total, span, logits, normalizers, slope)
        ctx.save_for_backward(total.states, chunks.padded(total.weight))
        counted = torch.stack(sums).sum(0)
        ctx.mark_non_differentiable(counted)
        return value, counted

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, of_value: Tensor, of_sums: Tensor
    ) -> tuple[Tensor | None, ...]:
        states, weight = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        # In place: both were made for this one pass.
        return states.mul_(of_value.to(states.dtype)), weight.mul_(of_value), None, None, None


class _Chunks:
    """The passes over logits, a chunk of tokens at a time: `spans`, the same on every rank."""

    def __init__(self, hidden: Tensor, weight: Tensor, targets: Tensor, head: Head) -> None:
        self._hidden, self._padded, self._head = hidden, weight, head
        self._weight = head.own(weight).to(hidden.dtype)
        # An empty one joins in the reductions of the other ranks, too.
        self.spans = spans(len(hidden), head.options.chunk(weight)) or [slice(0, 0)]
        first = head.first(weight)
        self._own = (targets >= first) & (targets < first + len(weight))
        self._places = torch.where(self._own, targets - first, 0)

    def logits(self, span: slice) -> Tensor:
        """Float32 logits of this rank's columns, over temperature."""
        states = self._hidden[span]
        if not len(self._weight):  # nothing but padding
            return states.new_zeros((len(states), 0), dtype=torch.float32)
        return logits_of(states, self._weight, self._head.options.temperature)

    def statistics(self, span: slice, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, entropies and normalizers of a chunk's tokens, over all ranks."""
        places, own = self._places[span], self._own[span]
        if logits.shape[-1]:
            highest, *rest = fast(_statistics, logits)(logits, places, own)
        else:
            nothing = logits.new_zeros(len(logits))
            highest, *rest = nothing - torch.inf, nothing, nothing, nothing
        greatest = _reduced(highest.clone(), dist.ReduceOp.MAX, self._head.group)
        total, weighted, chosen = _moved(highest - greatest, *rest)
        sums = torch.stack([total, weighted, chosen])
        total, weighted, chosen = _reduced(sums, dist.ReduceOp.SUM, self._head.group)
        logs = total.log()
        normalizers = greatest + logs
        return chosen - normalizers, logs - weighted / total, normalizers

    def gradients(self) -> Gradients:
        """Nothing yet."""
        return Gradients(self._hidden, self._weight, of_weight=True)

    def add(
        self, total: Gradients, span: slice, logits: Tensor, normalizers: Tensor, slope: Tensor
    ) -> None:
        """Adds what the slopes of a chunk's log-probabilities come to."""
        if not logits.shape[-1]:
            total.states[span] = 0
            return
        given = (logits, self._places[span], self._own[span], normalizers, slope)
        gradient = fast(_logit_gradient, logits)(*given, self._hidden.dtype)
        total.add(span, gradient, self._head.options.temperature)

    def padded(self, gradient: Tensor | None) -> Tensor:
        """The gradient of all rows, padding included, in the type of the matrix."""
        assert gradient is not None
        missing = len(self._padded) - len(gradient)
        if missing:
            gradient = torch.cat([gradient, gradient.new_zeros(missing, gradient.shape[1])])
        return gradient.to(self._padded.dtype)


def _statistics(
    logits: Tensor, places: Tensor, own: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a rank's columns: maximum, Σ e^b, Σ b e^b, and z_y or 0; b is z less the maximum."""
    highest = logits.amax(-1)
    below = (logits - highest[:, None]).clamp(min=MIN_LOGPROB)
    shares = below.exp()
    chosen = torch.where(own, logits.gather(-1, places[:, None]).squeeze(-1), 0.0)
    return highest, shares.sum(-1), (shares * below).sum(-1), chosen


def _moved(
    shift: Tensor, total: Tensor, weighted: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over a rank's columns as they are below the maximum of all ranks."""
    shift = shift.clamp(min=MIN_LOGPROB)
    factor = shift.exp()
    return factor * total, factor * (weighted + shift * total), chosen


def _logit_gradient(
    logits: Tensor,
    places: Tensor,
    own: Tensor,
    normalizers: Tensor,
    slope: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The gradient for z of log-probabilities with a slope: slope · (1[column is y] − p)."""
    chances = (logits - normalizers[:, None]).clamp(min=MIN_LOGPROB).exp()
    columns = torch.arange(logits.shape[1], device=logits.device)
    hit = (columns == places[:, None]) & own[:, None]
    gradient = slope[:, None] * (hit.to(chances.dtype) - chances)
    return torch.where((slope == 0)[:, None], 0.0, gradient).to(dtype)


def _reduced(values: Tensor, operation: Any, group: Any) -> Tensor:
    if dist.get_world_size(group) > 1:
        values = values.contiguous()
        dist.all_reduce(values, operation, group=group)  # pyright: ignore[reportUnknownMemberType]
    return values
