"""A checksum of tensors that a GPU computes quickly; trainer and servers share this file."""

from collections.abc import Iterable
from typing import cast

import torch

_CHUNK = 1 << 24
_MULTIPLIER = -7046029254386353131  # 2**64 / golden ratio, as a signed number


def digests(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, str]:
    """Checksums of tensors' bytes in order: Σ (bᵢ + 1) wᵢ mod 2⁶⁴ with mixed weights wᵢ.

    The sums are fetched together in the end, so that a GPU need not be waited for each time.
    """
    names: list[str] = []
    sizes: list[int] = []
    totals: list[torch.Tensor] = []
    for name, tensor in tensors:
        words = _words(tensor)
        names.append(name)
        sizes.append(words.numel())
        totals.append(_total(words))
    values = cast("list[int]", torch.stack(totals).tolist() if totals else [])  # pyright: ignore[reportUnknownMemberType]
    return {
        name: f"{value & (2**64 - 1):016x}-{size}"
        for name, value, size in zip(names, values, sizes, strict=True)
    }


def digest(tensor: torch.Tensor) -> str:
    """The checksum of one tensor."""
    return digests([("", tensor)])[""]


def _words(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return flat.view(torch.int32) if flat.numel() % 4 == 0 else flat


def _total(words: torch.Tensor) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for start in range(0, words.numel(), _CHUNK):
        chunk = words[start : start + _CHUNK].to(torch.int64)
        places = torch.arange(start + 1, start + 1 + chunk.numel(), device=words.device)
        weights = places * _MULTIPLIER
        weights = (weights ^ (weights >> 29)) * _MULTIPLIER
        total += ((chunk + 1) * weights).sum()
    return total
