"""AdamW in one pass over memory, where a GPU is there to run it.

The parts of a step (gradients to float32, clipping, the step, rounding to the weights of the model)
each read and write everything when they are apart: 52 bytes a parameter in place of 30, and an
optimizer step takes as long as its memory traffic.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from wideseek_rl.trainers.config import OptimizerConfig


class Numbers(NamedTuple):
    """What a step multiplies and adds, the same for all elements of a tensor."""

    factor: float
    """Of the gradient: undoes a loss scale, and clips."""
    mean_kept: float
    mean_new: float
    square_kept: float
    square_new: float
    root: float
    """Of the root of the running square: undoes its start at 0."""
    eps: float
    rate: float
    """The learning rate; undoes the start of the running mean at 0."""
    decayed: float
    """The part of the weight that its decay takes. What it leaves, as a float32 number, would be
    coarser."""


class Advance(Protocol):
    """Moves a master and its moments by one step, and rounds it to the weight of the model."""

    def __call__(
        self,
        master: Tensor,
        gradient: Tensor,
        mean: Tensor,
        square: Tensor,
        weight: Tensor | None,
        numbers: tuple[float, ...],
    ) -> None:
        """All tensors are contiguous and of one shape."""
        ...


def numbers(
    config: OptimizerConfig, *, lr: float, step: int, factor: float, decay: float
) -> Numbers:
    """Those of the `step`-th step of a tensor, counted from 1."""
    first, second = config.betas
    return Numbers(
        factor=factor,
        mean_kept=first,
        mean_new=1 - first,
        square_kept=second,
        square_new=1 - second,
        root=1 / math.sqrt(1 - second**step),
        eps=config.eps,
        rate=lr / (1 - first**step),
        decayed=lr * decay,
    )


def advance_plainly(
    master: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    weight: Tensor | None,
    numbers: tuple[float, ...],
) -> None:
    """The `Advance` of any device, in many passes: says what a kernel has to compute."""
    by = Numbers(*numbers)
    slope = gradient.float() * by.factor
    mean.mul_(by.mean_kept).add_(slope * by.mean_new)
    square.mul_(by.square_kept).add_(slope * slope * by.square_new)
    step = by.rate * mean / (square.sqrt() * by.root + by.eps)
    master.sub_(by.decayed * master + step)
    if weight is not None:
        weight.copy_(master)


@cache
def one_pass(device: str) -> Advance | None:
    """The kernel of a kind of device, if it has one."""
    if device != "cuda":
        return None
    try:
        from wideseek_rl.trainers.adamw_kernel import advance
    except ImportError:
        return None
    return advance


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor that may be spread over ranks."""
    return cast(Any, tensor).to_local() if hasattr(tensor, "to_local") else tensor


@torch.no_grad()
def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients together, summed in float32, over all ranks that hold them."""
    if not gradients:
        return torch.zeros(())
    each = cast(Any, torch)._foreach_norm([local(g) for g in gradients], 2, dtype=torch.float32)
    total = torch.stack(each).square().sum()
    first: Any = gradients[0]
    if hasattr(first, "device_mesh"):
        distributed: Any = torch.distributed
        distributed.all_reduce(total, group=first.device_mesh.get_group())
    return total.sqrt()
