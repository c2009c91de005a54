"""Log-probabilities and losses of micro-batches: the model, its precision, and the head."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl.batch.packing import MicroBatch
from wideseek_rl.models.ops import MIN_LOGPROB, linear
from wideseek_rl.models.protocol import CausalModel
from wideseek_rl.trainers.head import (
    HeadOptions,
    SpanLoss,
    chunked_logprobs,
    chunked_loss,
    spans,
)
from wideseek_rl.trainers.loss import LossOutputs

WHOLE = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A micro-batch's loss, and the log-probabilities that it saw, `[N]` without gradient."""

    outputs: LossOutputs
    logprobs: Tensor


def token_logprobs(
    model: CausalModel, batch: MicroBatch, options: HeadOptions | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of the sampling distribution at each trained token, `[N]` each.

    Logits are made for trained positions alone, and where they would be large in chunks that the
    backward pass computes again.
    """
    options = options or HeadOptions()

    def head(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        states = hidden.flatten(0, 1).index_select(0, batch.places)  # [N, D]
        if not model.plain_head:
            return _through_model(model, states, batch.targets, options.chunk(weight), options)
        if _small(states, weight, options):
            return _at_once(linear(states, weight), batch.targets, options)
        return chunked_logprobs(states, weight, batch.targets, options)

    return model(batch.ids, batch.lengths, batch.layout, head)


def token_loss(
    model: CausalModel,
    batch: MicroBatch,
    loss: SpanLoss,
    options: HeadOptions | None = None,
    *,
    together: bool = False,
) -> Evaluated:
    """The loss of all trained tokens, as `token_logprobs` but with no logits made twice.

    `together` gives the loss all tokens at once, for costs that depend on other tokens; then large
    logits are made twice after all.
    """
    options = options or HeadOptions()

    # A tuple of tensors, since a sharded model looks for them in what its call returns.
    def head(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = hidden.flatten(0, 1).index_select(0, batch.places)  # [N, D]
        if not model.plain_head:
            logprobs, entropies = _through_model(
                model, states, batch.targets, options.chunk(weight), options
            )
        elif _small(states, weight, options):
            logprobs, entropies = _at_once(linear(states, weight), batch.targets, options)
        elif together:
            logprobs, entropies = chunked_logprobs(states, weight, batch.targets, options)
        else:
            outputs, logprobs = chunked_loss(states, weight, batch.targets, options, loss)
            return outputs.loss, outputs.sums, logprobs
        outputs = loss(logprobs, entropies, WHOLE)
        return outputs.loss, outputs.sums, logprobs.detach()

    value, sums, logprobs = model(batch.ids, batch.lengths, batch.layout, head)
    return Evaluated(outputs=LossOutputs(loss=value, sums=sums), logprobs=logprobs)


@contextmanager
def precision(device: torch.device, autocast: str, matmul: str) -> Generator[None]:
    """Arithmetic of the passes inside. That of `matmul` is the whole process's meanwhile."""
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(autocast)
    with (
        matmul_precision(matmul),
        torch.autocast(device.type, dtype=dtype, enabled=dtype is not None),
    ):
        yield


@contextmanager
def matmul_precision(matmul: str) -> Generator[None]:
    """Precision of float32 products inside.

    torch has one for all threads: an engine that samples in this process during an update has it,
    too, and its own again after that.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _small(states: Tensor, weight: Tensor, options: HeadOptions) -> bool:
    """Whether keeping all logits is the fastest: on a CPU, where they fit."""
    return states.device.type == "cpu" and len(states) <= options.chunk(weight)


def _at_once(logits: Tensor, targets: Tensor, options: HeadOptions) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of logits `[n, V]` that autograd keeps."""
    logits = logits.float()
    if options.temperature != 1:
        logits = logits / options.temperature
    logprobs = logits.log_softmax(-1)
    with torch.set_grad_enabled(options.entropy_grad and torch.is_grad_enabled()):
        likely = logprobs.clamp(min=MIN_LOGPROB)
        entropies = -(likely.exp() * likely).sum(-1)
    return logprobs.gather(-1, targets[:, None]).squeeze(-1), entropies


def _through_model(
    model: CausalModel, states: Tensor, targets: Tensor, size: int, options: HeadOptions
) -> tuple[Tensor, Tensor]:
    """The same for a model that makes logits in its own way, in chunks computed again."""

    def part(states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return _at_once(model.logits(states), targets, options)

    parts: Sequence[tuple[Tensor, Tensor]] = [
        cast(
            tuple[Tensor, Tensor],
            checkpoint(part, states[span], targets[span], use_reentrant=False),
        )
        for span in spans(len(states), size)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
