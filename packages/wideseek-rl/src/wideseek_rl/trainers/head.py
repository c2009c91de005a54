"""Log-probabilities, entropies and losses straight from hidden states, a chunk of tokens at a time.

Logits of a batch are its largest tensor: 32,768 tokens of a vocabulary of 152,000 take 20 GB. Here
they exist for one chunk of tokens at a time, in float32 whatever the arithmetic of the rest, and
nothing of the shape `[N, V]` is kept for the backward pass.

With logits l of a token, p = softmax(l) and H its entropy, the gradients are

    d log p_target / d l_j = [j = target] − p_j        d H / d l_j = −p_j · (log p_j + H)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from wideseek_rl.models.ops import MIN_LOGPROB, linear
from wideseek_rl.trainers.loss import LossOutputs

SpanLoss = Callable[[Tensor, Tensor, slice], LossOutputs]
"""The loss of some tokens, given their log-probabilities and entropies and which ones they are.

Each token's cost depends on that token alone.
"""

MAX_LOGITS = {"cpu": 1 << 27, "cuda": 1 << 29}
"""Most logits held at once, by kind of device; 4 bytes each, and half as much for gradients."""

CHUNK_MULTIPLE = 128
"""Tokens of a chunk are a multiple of it, which suits the tiles of matrix products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """How logits become log-probabilities."""

    temperature: float = 1.0
    """That of the sampler: logits are divided by it."""
    entropy_grad: bool = False
    """Whether entropies have a gradient."""
    max_logits: int | None = None
    """Most logits held at once; None for what suits the device."""

    def chunk(self, weight: Tensor) -> int:
        """Tokens whose logits are made together."""
        most = self.max_logits or MAX_LOGITS.get(weight.device.type, MAX_LOGITS["cpu"])
        return max(most // weight.shape[0], 1)


def chunked_logprobs(
    states: Tensor, weight: Tensor, targets: Tensor, options: HeadOptions
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of each distribution, `[N]` each, float32.

    Differentiable; the backward pass makes the logits again.

    Args:
        states: `[N, D]` hidden states.
        weight: `[V, D]` output matrix.
        targets: `[N]` token ids.
        options: temperature, chunks, gradient of the entropy.
    """
    apply = cast(Any, _Logprobs).apply
    return cast(tuple[Tensor, Tensor], apply(states, weight, targets, options))


def chunked_loss(
    states: Tensor, weight: Tensor, targets: Tensor, options: HeadOptions, loss: SpanLoss
) -> tuple[LossOutputs, Tensor]:
    """The loss of all tokens, and their log-probabilities without gradient.

    Gradients of states and weight are made together with the loss, chunk by chunk, so that the
    backward pass has no logits to make again.
    """
    apply = cast(Any, _Loss).apply
    value, sums, logprobs = apply(states, weight, targets, options, loss)
    return LossOutputs(loss=value, sums=sums), logprobs


def spans(count: int, size: int) -> list[slice]:
    """Consecutive parts of at most `size`, as few as possible and about equally long."""
    even = -(-count // max(-(-count // size), 1))
    step = max(min(-(-even // CHUNK_MULTIPLE) * CHUNK_MULTIPLE, size), 1)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, options: HeadOptions
    ) -> tuple[Tensor, Tensor]:
        states, weight = _cast(states), _cast(weight)
        parts = [
            _statistics(logits_of(states[span], weight, options.temperature), targets[span])
            for span in spans(len(states), options.chunk(weight))
        ]
        logprobs, entropies, normalizers = (
            torch.cat(list(part)) for part in zip(*parts, strict=True)
        )
        ctx.save_for_backward(states, weight, targets, entropies, normalizers)
        ctx.options = options
        if not options.entropy_grad:
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, of_logprobs: Tensor, of_entropies: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        states, weight, targets, entropies, normalizers = cast(
            tuple[Tensor, ...], ctx.saved_tensors
        )
        options: HeadOptions = ctx.options
        total = Gradients(states, weight, of_weight=ctx.needs_input_grad[1])
        for span in spans(len(states), options.chunk(weight)):
            logits = logits_of(states[span], weight, options.temperature)
            second = (
                of_entropies[span] if options.entropy_grad and of_entropies is not None else None
            )
            gradient = _logit_gradient(
                logits,
                targets[span],
                normalizers[span],
                of_logprobs[span],
                entropies[span],
                second,
                weight.dtype,
            )
            del logits  # or those of the next chunk would be made beside them
            total.add(span, gradient, options.temperature)
            del gradient
        of_weight = None if total.weight is None else total.weight.to(weight.dtype)
        return total.states, of_weight, None, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        targets: Tensor,
        options: HeadOptions,
        loss: SpanLoss,
    ) -> tuple[Tensor, Tensor, Tensor]:
        states, weight = _cast(states), _cast(weight)
        total = Gradients(states, weight, of_weight=ctx.needs_input_grad[1])
        value = torch.zeros((), device=states.device)
        sums: list[Tensor] = []
        logprobs = torch.empty(len(states), device=states.device)
        for span in spans(len(states), options.chunk(weight)):
            logits = logits_of(states[span], weight, options.temperature)
            found, entropies, normalizers = _statistics(logits, targets[span])
            logprobs[span] = found
            outputs, first, second = local_loss(loss, found, entropies, span, options.entropy_grad)
            value += outputs.loss.detach()
            sums.append(outputs.sums)
            gradient = _logit_gradient(
                logits, targets[span], normalizers, first, entropies, second, weight.dtype
            )
            del logits  # or those of the next chunk would be made beside them
            total.add(span, gradient, options.temperature)
            del gradient
        ctx.save_for_backward(total.states, total.weight)
        ctx.dtype = weight.dtype
        counted = torch.stack(sums).sum(0)
        ctx.mark_non_differentiable(counted, logprobs)
        return value, counted, logprobs

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, of_value: Tensor, of_sums: Tensor, of_logprobs: Tensor
    ) -> tuple[Tensor | None, ...]:
        states, weight = cast("tuple[Tensor, Tensor | None]", ctx.saved_tensors)
        # In place: both were made for this one pass.
        of_weight = None if weight is None else weight.mul_(of_value).to(ctx.dtype)
        return states.mul_(of_value.to(states.dtype)), of_weight, None, None, None


class Gradients:
    """Gradients of hidden states and, unless it is frozen, output matrix, summed in float32."""

    def __init__(self, states: Tensor, weight: Tensor, *, of_weight: bool) -> None:
        self._given, self._matrix = states, weight
        self.states = torch.empty_like(states)
        self.weight: Tensor | None = None
        if of_weight:
            self.weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)

    def add(self, span: slice, gradient: Tensor, temperature: float) -> None:
        """Adds what the gradient of some tokens' logits, `[n, V]`, comes to."""
        rows = gradient if temperature == 1 else gradient / temperature
        given = self._given[span]
        if rows.device.type == "cpu":
            self.states[span] = linear(rows, self._matrix.t())
            if self.weight is not None:
                self.weight += linear(rows.t(), given.t())
            return
        torch.mm(rows, self._matrix, out=self.states[span])
        if self.weight is None:
            return
        if rows.dtype == torch.float32:
            self.weight.addmm_(rows.t(), given)
        else:
            cast(Any, torch.addmm)(
                self.weight, rows.t(), given, out_dtype=torch.float32, out=self.weight
            )


def local_loss(
    loss: SpanLoss, logprobs: Tensor, entropies: Tensor, span: slice, entropy_grad: bool
) -> tuple[LossOutputs, Tensor, Tensor | None]:
    """A span's loss, with its gradient for each log-probability and, if wanted, entropy."""
    with torch.enable_grad():
        logprobs = logprobs.detach().requires_grad_()
        entropies = entropies.detach().requires_grad_(entropy_grad)
        outputs = loss(logprobs, entropies, span)
        if not entropy_grad:
            return outputs, torch.autograd.grad(outputs.loss, logprobs)[0], None
        first, second = torch.autograd.grad(outputs.loss, (logprobs, entropies))
        return outputs, first, second


def _cast(tensor: Tensor) -> Tensor:
    """In the precision that autocast asks for, since it does not reach into these functions."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


def logits_of(states: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Float32 logits, `[n, V]`."""
    if states.device.type == "cpu" or states.dtype == torch.float32:
        with torch.autocast(states.device.type, enabled=False):
            logits = linear(states, weight).float()
    else:
        # Half precision in, float32 out: rounding here would blur every log-probability.
        logits = cast(Tensor, cast(Any, torch.mm)(states, weight.t(), out_dtype=torch.float32))
    return logits if temperature == 1 else logits / temperature


def _statistics(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of the target, entropy, and log of the sum of exponentials, `[n]` each."""
    return _fast(_statistics_of, logits)(logits, targets)


def _logit_gradient(
    logits: Tensor,
    targets: Tensor,
    normalizers: Tensor,
    of_logprobs: Tensor,
    entropies: Tensor,
    of_entropies: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """The gradient of the logits, `[n, V]`; 0 where a token's is 0, whatever its logits."""
    return _fast(_logit_gradient_of, logits)(
        logits, targets, normalizers, of_logprobs, entropies, of_entropies, dtype
    )


def _statistics_of(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    highest = logits.amax(-1, keepdim=True)
    below = (logits - highest).clamp(min=MIN_LOGPROB)
    shares = below.exp()
    total = shares.sum(-1)  # both sums in one pass over the logits
    logs = total.log()
    entropies = logs - (shares * below).sum(-1) / total
    normalizers = highest.squeeze(-1) + logs
    chosen = logits.gather(-1, targets[:, None]).squeeze(-1) - normalizers
    return chosen, entropies, normalizers


def _logit_gradient_of(
    logits: Tensor,
    targets: Tensor,
    normalizers: Tensor,
    of_logprobs: Tensor,
    entropies: Tensor,
    of_entropies: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    logprobs = (logits - normalizers[:, None]).clamp(min=MIN_LOGPROB)
    chances = logprobs.exp()
    hit = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    gradient = of_logprobs[:, None] * (hit.to(chances.dtype) - chances)
    still = of_logprobs == 0
    if of_entropies is not None:
        gradient = gradient - of_entropies[:, None] * chances * (logprobs + entropies[:, None])
        still = still & (of_entropies == 0)
    return torch.where(still[:, None], 0.0, gradient).to(dtype)


def _fast(function: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """The function compiled on a GPU, where it would go through memory many times otherwise."""
    return function if like.device.type == "cpu" else _compiled(function)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Sizes that change are found on the way. A vocabulary that the kernels do not know would make
    # them three times slower.
    return torch.compile(function)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
