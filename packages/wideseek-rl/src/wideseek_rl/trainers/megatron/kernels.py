"""Arithmetic between matrix products that goes through memory once: compiled on GPUs.

Everything is computed in float32 and rounded once, whatever the type of its input.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor


def rms_norm(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square norm over the last dimension, in the type of the states."""
    # Functions of their own, since the compiler keeps only so many versions of each.
    function = _normed_heads if states.dim() == 4 else _normed_states
    return cast(Tensor, fast(function, states)(states, weight, eps))


def rotary(states: Tensor, angles: Tensor) -> Tensor:
    """Heads `[T, 1, heads, dim]` turned by `[T, 1, 1, dim]` angles, in their own type."""
    return cast(Tensor, fast(_turned, states)(states, angles))


def fast(function: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """The function, compiled if it is for tensors on a GPU."""
    return _compiled(function) if like.is_cuda else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # With and without gradient, for one length and for any, contiguous or not: more versions than
    # the compiler keeps by default before it gives up.
    config: Any = torch._dynamo.config  # pyright: ignore[reportPrivateUsage]
    config.recompile_limit = max(config.recompile_limit, 64)
    return torch.compile(function)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _normed_states(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(states, weight, eps)


def _normed_heads(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(states, weight, eps)


def _normed(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    exact = states.float()
    scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + eps)
    return (exact * scale * weight.float()).to(states.dtype)


def _turned(states: Tensor, angles: Tensor) -> Tensor:
    exact = states.float()
    first, second = exact.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return (exact * angles.cos() + turned * angles.sin()).to(states.dtype)
