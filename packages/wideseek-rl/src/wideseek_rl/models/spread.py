"""Tensors that may be spread over the ranks of a sharded model."""

from typing import Any, cast

import torch
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be spread over ranks; every rank must ask."""
    return cast(Any, tensor).full_tensor() if is_spread(tensor) else tensor


def is_spread(tensor: Tensor) -> bool:
    """Whether a tensor is spread over ranks."""
    return hasattr(tensor, "full_tensor")


@torch.no_grad()
def fill(target: Tensor, values: Tensor) -> None:
    """Copies a whole tensor into one that may be spread over ranks."""
    if not is_spread(target):
        target.copy_(values)
        return
    from torch.distributed.tensor import distribute_tensor

    spread: Any = target
    values = values.to(target.device, target.dtype)
    target.copy_(distribute_tensor(values, spread.device_mesh, spread.placements))
