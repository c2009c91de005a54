"""Tensors that may be spread over the ranks of a sharded model."""

from typing import Any

import torch
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be spread over ranks; every rank must ask.

    Parts that are kept elsewhere, as in the memory of the host, are gathered on the device of the
    ranks: their group may know how to send from no other one.
    """
    if not is_spread(tensor):
        return tensor
    spread: Any = tensor
    device: str = spread.device_mesh.device_type
    return (spread if spread.device.type == device else spread.to(device)).full_tensor()


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
