"""Averages of LoRA adapters for one model: what fine-tuning in several ways changed, in the mean.

The mean of policies that were trained from the same model, with other data or seeds, often does as
well as each of them at what that one does best (model soups, arXiv 2203.05482). An average of
low-rank changes has the ranks of all of them; the best approximation of a lower rank is its
truncated singular value decomposition (Eckart and Young).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wideseek_core import CheckpointError, ConfigError
from wideseek_core.files import folder_atomically
from wideseek_rl.models.lora_config import ADAPTER_CONFIG
from wideseek_rl.models.lora_files import WEIGHTS, read_settings, read_tensors
from wideseek_rl.models.tensor_files import write_object, write_tensors

DOWN, UP = ".lora_A.", ".lora_B."


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """What an average of adapters is like."""

    rank: int
    kept: float
    """Share of the squared norm of the whole average that the rank keeps, over all layers."""


@dataclass(frozen=True, slots=True)
class _Adapter:
    folder: Path
    settings: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def scale(self) -> float:
        rank, alpha = self.settings["r"], self.settings["lora_alpha"]
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)


def average_adapters(
    folders: Sequence[Path], folder: Path, *, weights: Sequence[float], rank: int
) -> Average:
    """Writes the weighted mean of the changes that some adapters make, as an adapter.

    `weights` are one for each of `folders`, and used as they are; `rank` is that of the result,
    whose matrices have the type and the scale of the first adapter's. An adapter that is there is
    replaced. Raises `ConfigError` for adapters that do not fit each other and for a folder that
    holds something else, `CheckpointError` for damaged files.
    """
    if folder.exists() and not (folder / ADAPTER_CONFIG).is_file():
        raise ConfigError(f"folder: {folder} is there, and is no adapter")
    adapters = [_read(one) for one in folders]
    first = adapters[0]
    for other in adapters[1:]:
        _check_alike(first, other)
    tensors: dict[str, Tensor] = {}
    kept = whole = 0.0
    for name in sorted(first.tensors):
        if DOWN not in name:
            continue
        parts = [(one, weight * one.scale) for one, weight in zip(adapters, weights, strict=True)]
        down, up, values = _mean(name, parts, rank)
        up /= first.scale
        kept += float(values[:rank].square().sum())
        whole += float(values.square().sum())
        dtype = first.tensors[name].dtype
        tensors[name] = down.to(dtype).contiguous()
        tensors[name.replace(DOWN, UP)] = up.to(dtype).contiguous()
    alpha = first.scale * rank
    alpha = int(alpha) if float(alpha).is_integer() else alpha
    settings = first.settings | {"r": rank, "lora_alpha": alpha, "use_rslora": False}
    with folder_atomically(folder) as work:
        write_tensors(tensors, work / WEIGHTS)
        write_object(work / ADAPTER_CONFIG, settings)
    return Average(rank=rank, kept=kept / whole if whole else 1.0)


def _read(folder: Path) -> _Adapter:
    settings, tensors = read_settings(folder), read_tensors(folder)
    file = folder / ADAPTER_CONFIG
    for key in ("rank_pattern", "alpha_pattern"):
        if settings.get(key):
            raise CheckpointError(f"{file}: {key} is not supported")
    for key in ("r", "lora_alpha"):
        if not isinstance(settings.get(key), int | float) or settings[key] <= 0:
            raise CheckpointError(f"{file}: {key} is {settings.get(key)!r}")
    downs = {name for name in tensors if DOWN in name}
    if {name.replace(DOWN, UP) for name in downs} | downs != set(tensors) or not downs:
        raise CheckpointError(f"{folder / WEIGHTS}: not the matrices of a LoRA adapter")
    return _Adapter(folder, settings, tensors)


def _check_alike(first: _Adapter, other: _Adapter) -> None:
    for name in sorted(set(first.tensors) ^ set(other.tensors)):
        has, lacks = (first, other) if name in first.tensors else (other, first)
        raise ConfigError(f"adapters: {has.folder} has {name}, and {lacks.folder} has not")
    for name, tensor in first.tensors.items():
        # The other side of a matrix is the rank, in which adapters may differ.
        side = 1 if DOWN in name else 0
        if tensor.shape[side] != other.tensors[name].shape[side]:
            raise ConfigError(
                f"adapters: {first.folder} and {other.folder} are not for one model: {name} is "
                f"{list(tensor.shape)} and {list(other.tensors[name].shape)}"
            )


def _mean(
    name: str, parts: Sequence[tuple[_Adapter, float]], rank: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Both matrices of a layer, and the singular values of the whole mean.

    The decomposition is that of a small matrix: the sum is a product of two thin ones.
    """
    down = torch.cat([one.tensors[name].double() for one, _ in parts])
    up = torch.cat(
        [one.tensors[name.replace(DOWN, UP)].double() * scale for one, scale in parts], 1
    )
    linalg: Any = torch.linalg  # without types
    left, upper = linalg.qr(up)
    right, lower = linalg.qr(down.T)
    u, values, v = linalg.svd(upper @ lower.T, full_matrices=False)
    count = min(rank, len(values))
    roots: Tensor = values[:count].sqrt()
    new_down = torch.zeros(rank, down.shape[1], dtype=torch.float64)
    new_up = torch.zeros(up.shape[0], rank, dtype=torch.float64)
    new_down[:count] = roots[:, None] * (v[:count] @ right.T)
    new_up[:, :count] = (left @ u[:, :count]) * roots
    return new_down, new_up, values
