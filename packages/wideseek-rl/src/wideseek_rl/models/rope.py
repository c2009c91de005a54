"""Rotary position embeddings: plain, and the ways in which published models stretch them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.models.config import DecoderConfig, RopeConfig


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Cosines and sines of the rotary embedding.

    Each `[T, head_dim / 2]`, or `[B, 1, T, head_dim / 2]` where the sequences of a batch count
    their positions differently.
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Rotates `[B, heads, T, head_dim]`; dimension i is paired with i + head_dim / 2."""
        return rotate(x, self.cos, self.sin)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the last dimension by half as many angles.

    The other dimensions may be in any order that `cos` and `sin` broadcast to.
    """
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def beside_heads(angles: Tensor) -> Tensor:
    """Cosines or sines of a `Rotation` for `[B, T, heads, head_dim]`."""
    return angles.unsqueeze(-2) if angles.dim() == 2 else angles.transpose(-3, -2)


def rotation(config: DecoderConfig, positions: Tensor) -> Rotation:
    """The rotation at positions `[T]` or `[B, T]`, computed in float32."""
    rates = frequencies(config.rope, config.head_dim, positions.device)
    angles = positions.float()[..., None] * rates
    if positions.dim() > 1:
        angles = angles[:, None]  # [B, 1, T, d / 2]: the same for all heads
    scale = attention_scale(config.rope)
    if scale == 1:
        return Rotation(angles.cos(), angles.sin())
    return Rotation(angles.cos() * scale, angles.sin() * scale)


def frequencies(rope: RopeConfig, head_dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Radians per token of each pair of dimensions, `[head_dim / 2]`."""
    exponent = torch.arange(0, head_dim, 2, device=device).float() / head_dim
    plain = rope.theta**-exponent
    match rope.kind:
        case "default":
            return plain
        case "linear":
            return plain / rope.factor
        case "llama3":
            return _llama3(rope, plain)
        case "yarn":
            return _yarn(rope, plain, head_dim)


def attention_scale(rope: RopeConfig) -> float:
    """What cosines and sines are multiplied by (YaRN, arXiv 2309.00071)."""
    if rope.kind != "yarn":
        return 1.0
    if rope.attention_factor is not None:
        return rope.attention_factor
    return 0.1 * math.log(rope.factor) + 1.0 if rope.factor > 1 else 1.0


def _llama3(rope: RopeConfig, plain: Tensor) -> Tensor:
    """Long wavelengths stretched, short ones kept, a linear blend between them (Llama 3.1)."""
    turns = rope.original_positions * plain / (2 * math.pi)  # in the original context
    low, high = rope.low_freq_factor, rope.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return plain * (kept + (1 - kept) / rope.factor)


def _yarn(rope: RopeConfig, plain: Tensor, head_dim: int) -> Tensor:
    """Slow dimensions stretched, fast ones kept, a linear ramp over dimensions between them."""

    def dimension(turns: float) -> float:
        """Where a wavelength makes so many turns in the original context."""
        ratio = rope.original_positions / (turns * 2 * math.pi)
        return head_dim * math.log(ratio) / (2 * math.log(rope.theta))

    low = max(math.floor(dimension(rope.beta_fast)), 0)
    high = min(math.ceil(dimension(rope.beta_slow)), head_dim - 1)
    at = torch.arange(len(plain), device=plain.device, dtype=torch.float32)
    stretched = ((at - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    return plain * (1 - stretched) + plain / rope.factor * stretched
